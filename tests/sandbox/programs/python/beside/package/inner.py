value = 42
if __name__ == "__main__":
    print("inner as main")
