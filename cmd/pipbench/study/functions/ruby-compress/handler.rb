# Compresses a text, and takes it apart again.
require "digest"
require "zlib"

def handler(event:, context:)
  text = event["text"] * event["times"]
  packed = Zlib.deflate(text, 9)
  { bytes: text.bytesize, smaller: packed.bytesize < text.bytesize / 10, digest: Digest::SHA256.hexdigest(Zlib.inflate(packed))[0, 16] }
end
