#include "runner/text_stream.h"

#include "schema/utf8.h"

namespace forkbox::runner {

const std::string& TextStream::Text() {
  const std::size_t whole = raw_.size() - schema::IncompleteUtf8Suffix(raw_);
  if (whole == 0) return text_;
  std::string rest = raw_.substr(whole);
  raw_.resize(whole);
  std::string text = schema::ToValidUtf8(std::move(raw_));
  if (text_.empty()) {
    text_ = std::move(text);
  } else {
    text_ += text;
  }
  raw_ = std::move(rest);
  return text_;
}

}  // namespace forkbox::runner
