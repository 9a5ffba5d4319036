import pathlib

for path in sorted(pathlib.Path("out").glob("*/*.txt")):
    print(path.read_text().strip())
