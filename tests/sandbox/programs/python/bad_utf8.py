print("bad ÿ")
