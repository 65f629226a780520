# Run it with: python3 -m unittest discover tests
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from handler import handler


class HandlerTest(unittest.TestCase):
    def test_hello(self):
        self.assertEqual(handler({"name": "world"}, None), {"hello": "world"})


if __name__ == "__main__":
    unittest.main()
