(async () => { throw 5; })();
