"""The class report: one page that tells an instructor how the class did, what to look at, and what was alike.

It is made from what is published (`store`), from the gradebook's manual scores, and from the notebooks that were
graded. Nothing here changes a mark.
"""
