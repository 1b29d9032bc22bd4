import datetime, locale, os, time, zoneinfo
print(locale.setlocale(locale.LC_ALL, ""), time.tzname, time.timezone)
print(datetime.datetime.fromtimestamp(0, zoneinfo.ZoneInfo("Europe/Vienna")))
print(datetime.datetime.fromtimestamp(0))
os.environ["TZ"] = "America/New_York"
time.tzset()
print(datetime.datetime.fromtimestamp(0))
