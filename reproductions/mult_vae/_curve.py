"""Draw the figure of README.md: ``python _curve.py RECORD.json curve.svg``, from the record of a run of mult_vae."""

import json
import sys
from pathlib import Path


def draw(points: list[dict[str, float]], file: Path) -> None:
    """Draw validation and both terms of the loss on the left, beta on the right.

    Args:
        points: what the run logged at every epoch.
        file: the .svg to write.
    """
    import matplotlib as mpl  # noqa: PLC0415 - a drawing needs it, a run does not
    from matplotlib.figure import Figure  # noqa: PLC0415

    mpl.rcParams |= {"svg.hashsalt": "recarena", "svg.fonttype": "none", "font.size": 9}
    epoch = [point["epoch"] for point in points]
    figure = Figure(figsize=(7.2, 2.6), layout="constrained")
    panels = figure.subplots(1, 2)
    for panel, name, words in zip(panels, ("validation", "beta"), ("validation NDCG@100", "beta"), strict=True):
        panel.plot(epoch, [point[name] for point in points], color="#1f4e79", linewidth=1.2)
        panel.set_xlabel("epoch")
        panel.set_ylabel(words)
        panel.spines[["top", "right"]].set_visible(False)
    best = max(points, key=lambda point: point["validation"])
    panels[0].plot(best["epoch"], best["validation"], "o", color="#b03a2e", markersize=4)
    panels[0].annotate(
        f"{best['validation']:.4f}", (best["epoch"], best["validation"]), xytext=(0, 5), textcoords="offset points"
    )
    other = panels[1].twinx()
    other.plot(epoch, [point["kl"] for point in points], color="#999999", linewidth=1)
    other.set_ylabel("KL (nats a user), grey")
    other.spines[["top"]].set_visible(False)
    figure.savefig(file, metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["curve"], Path(sys.argv[2]))
