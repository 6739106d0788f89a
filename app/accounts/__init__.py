"""One upstream account as the gateway works it: its pace, its money lane, its calls, its looks."""
