class Mine(SystemExit):
    code = 9


raise Mine("ignored")
