// An exception need not be an Error.
throw { code: 5 };
