"""Who may see what, what a page may load, and which secrets leave a process."""
