"""`make contact-sheet`: every output of many files on one page and in one picture, for a person to look at."""
