"""Homework: from the committed notebooks to student versions, solutions and an nbgrader course."""

from pruning_lib.teaching.homework.course import build, next_steps
from pruning_lib.teaching.homework.source import Written, read, written
from pruning_lib.teaching.homework.versions import assignment, solutions, student

__all__ = ["Written", "assignment", "build", "next_steps", "read", "solutions", "student", "written"]
