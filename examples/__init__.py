"""Programs that show the console at work beside a platform; no part of the product."""
