"""The latency regression gate: the working tree against a base commit, both built in this job.

Both sides answer in turns, in pairs of fresh processes (launches), in many short rounds.  A round's
figure is the quickest of a few passes, which the scheduler disturbed least; a round of one side is
divided by its neighbour of the other, and the median ratio has a two-stage bootstrap interval
(``benchmarks.timing.median_ratio``).  A measure has regressed when its median ratio is above the
limit *and* the interval excludes 1: what is large but may be noise, and what is sure but small, are
told and let pass.  There is one run, of fixed length: nothing is repeated until it passes.

An absolute bound guards against gross breakage alone, and where there is nothing to compare with.
"""
