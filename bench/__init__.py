"""Side-by-side measurements: ``make bench``. Each prints ratios and keeps its raw data in bench/results/."""
