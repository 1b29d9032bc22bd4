class Custom(BaseException):
    def __str__(self):
        return "custom text"


raise Custom
