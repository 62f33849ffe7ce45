"""The peer's side of a comparison: one round of work for every line that comes in, timed here, answered as JSON.

Standard library only: it is imported by interpreters that know nothing of recarena.
"""

import gc
import json
import os
import sys
import time


def serve(works):
    """Run the work that the command line names until the other side closes the pipe.

    Args:
        works: name -> function of the job's settings that loads, warms up nothing, and returns ``(once, judge)``:
            ``once()`` is what is timed, ``judge(result)`` is not and returns the quality of a result as a dictionary.
    """
    job = json.loads(sys.argv[1])
    del sys.argv[1:]  # some libraries read the command line of whoever imports them
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not stand between the answers

    def answer(**numbers):
        answers.write(json.dumps(numbers) + "\n")
        answers.flush()

    once, judge = works[job.pop("work")](**job)
    gc.collect()
    gc.disable()
    answer(ready=True)
    result = None
    for line in sys.stdin:
        if line == "round\n":
            result = None  # freed before the clock starts
            gc.collect()
            start = time.perf_counter()
            result = once()
            answer(seconds=time.perf_counter() - start)
        else:
            answer(**judge(result))
