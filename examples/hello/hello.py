import platform

with open("greeting.txt", "w") as file:
    print("hello from %s" % platform.node(), file=file)
print("wrote greeting.txt with Python %s" % platform.python_version())
