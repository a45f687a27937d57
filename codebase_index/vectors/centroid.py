"""The centroid of a model's vectors, estimated from a fixed set of snippets.

The vectors of a model point in much the same direction: with the shipped model, three quarters of a vector's
length is the same for all chunks. Quantization (quantization.py) keeps only the difference from the centroid. The
centroid does not depend on the index: with the mean of these snippets 700 candidates contain 0.91 of the nearest,
with the mean of half a million chunks 0.94.
"""

from typing import Final

import numpy as np

from codebase_index.embedding.protocol import Vectors

SNIPPETS: Final = (
    "def load_config(path):\n    with open(path) as f:\n        return json.load(f)\n",
    "class UserRepository:\n    def __init__(self, session):\n        self.session = session\n",
    "    def test_returns_none_when_key_is_missing(self):\n        self.assertIsNone(self.cache.get('missing'))\n",
    "import logging\nimport os\nfrom typing import Any\n\nlogger = logging.getLogger(__name__)\n",
    "func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {\n\ts.mux.ServeHTTP(w, r)\n}\n",
    "if err != nil {\n\treturn nil, fmt.Errorf(\"read %s: %w\", name, err)\n}\n",
    "type Options struct {\n\tTimeout time.Duration `json:\"timeout\"`\n\tRetries int `json:\"retries\"`\n}\n",
    "export function parseQuery(url: string): Record<string, string> {\n  return Object.fromEntries(params);\n}\n",
    "const app = express();\napp.use((req, res, next) => {\n  res.setHeader('X-Id', id);\n  next();\n});\n",
    "module.exports = { create, update, remove };\n\n/** @param {number} size */\nfunction create(size) {}\n",
    "impl<T: Clone> Iterator for Chunks<T> {\n    type Item = Vec<T>;\n    fn next(&mut self) -> Option<T> {\n",
    "match self.state {\n    State::Open => Ok(()),\n    State::Closed => Err(Error::new(ErrorKind::Other)),\n}\n",
    "public class Order {\n    private final List<Item> items = new ArrayList<>();\n    public int getTotal() {\n",
    "@Override\npublic String toString() {\n    return \"Node{\" + \"value=\" + value + '}';\n}\n",
    "static int read_block(struct file *f, char *buf, size_t len)\n{\n\tif (len == 0)\n\t\treturn -EINVAL;\n",
    "#include <stdio.h>\n#include <stdlib.h>\n\n#define MAX_SIZE 1024\n\ntypedef struct node node_t;\n",
    "template <typename T>\nvoid Queue<T>::push(const T& value) {\n  std::lock_guard<std::mutex> lock(mutex_);\n",
    "def index\n  @posts = Post.where(published: true).order(:created_at)\n  render json: @posts\nend\n",
    "<?php\nnamespace App\\Http;\n\nfunction handle(Request $request): Response {\n    return $this->next;\n}\n",
    "for i in range(len(values)):\n    if values[i] > best:\n        best, place = values[i], i\nreturn best\n",
    "# Installation\n\nRun the command below, then edit the configuration file. See the guide for details.\n",
    "name: build\non: [push]\njobs:\n  test:\n    runs-on: ubuntu-latest\n    steps:\n      - run: make test\n",
    "SELECT id, name, created_at FROM users WHERE active = true ORDER BY created_at DESC LIMIT 10;\n",
    "#!/bin/sh\nset -e\nfor file in \"$@\"; do\n  echo \"processing $file\"\n  cp \"$file\" \"$target\"\ndone\n",
)  # fmt: skip
"""In the most common languages and forms. Other snippets would make quantized vectors incomparable with those that
are stored: change the version of the chunker with them.
"""


def centroid_of(vectors: Vectors) -> Vectors:
    """Return the mean of vectors, float32 of shape (dimension,); the model's centroid for those of SNIPPETS."""
    centroid: Vectors = vectors.mean(axis=0, dtype=np.float32)
    return centroid
