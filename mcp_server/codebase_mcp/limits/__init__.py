"""How much of something scarce one caller may have."""
