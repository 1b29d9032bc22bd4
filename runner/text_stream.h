// TextStream: bytes that come in pieces, as the text they will have become when all of them are
// there: at any time, text() is a prefix of schema::ToValidUtf8() of the whole.
//
// One thread. What is not asked for is not converted.
#pragma once

#include <string>
#include <string_view>

namespace forkbox::runner {

class TextStream {
 public:
  void Append(std::string_view bytes) { raw_.append(bytes); }
  // Valid UTF-8; a character whose end has not come yet is held back.
  const std::string& Text();

 private:
  std::string text_;
  std::string raw_;  // not converted yet
};

}  // namespace forkbox::runner
