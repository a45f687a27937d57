"""The operator: runs IndexingJobs as pods, a few at a time, and mirrors how they stand.

`planner` decides, from full listings, without I/O; `actuator` carries out; `app` connects both to kopf.
"""
