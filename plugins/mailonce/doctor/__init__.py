"""Finds what would break the promise before anything is sent; each finding says what to do about it.

One file a subject, each a function that yields :class:`mailonce.findings.Finding`;
:func:`mailonce.doctor.examination.examine` runs them all. Nothing here changes anything, or sends a mail.
"""
