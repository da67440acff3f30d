"""Homework: from the committed notebooks to student versions, solutions and an nbgrader course."""
