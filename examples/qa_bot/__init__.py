"""A question-answering bot with a web page, over files that its visitors drop in."""
