"""The program around the engine: what it is given by Django and asgiref."""
