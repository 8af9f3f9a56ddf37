"""What the machine and the operating system are to the program: processes, files, signals."""
