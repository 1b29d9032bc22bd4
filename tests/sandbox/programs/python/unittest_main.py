import unittest


class T(unittest.TestCase):
    def test_good(self):
        self.assertEqual(1, 1)

    @unittest.skip("reason")
    def test_skipped(self):
        pass


if __name__ == "__main__":
    unittest.main(verbosity=0, exit=False, testRunner=lambda **k: unittest.TextTestRunner(stream=open("/dev/null", "w")))
    print("done")
