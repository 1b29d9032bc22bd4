#include "api/opensandbox/execd_lines.h"

namespace forkbox::api {
namespace {

constexpr std::uint64_t kMaxReturns = 64U << 10;

}  // namespace

LineCutter::LineCutter(std::uint64_t first, std::uint64_t count) : first_(first), count_(count) {}

void LineCutter::Begin(std::string* out) {
  if (begun_) return;
  begun_ = true;
  if (line_ > first_) out->push_back('\n');
}

bool LineCutter::Cut(std::string_view piece, std::string* out) {
  while (!piece.empty()) {
    if (line_ >= first_ && !Wanted()) return false;
    const std::size_t newline = piece.find('\n');
    std::string_view text = piece.substr(0, newline);
    if (Wanted()) {
      Begin(out);
      if (!text.empty()) {
        const std::size_t last = text.find_last_not_of('\r');
        const std::uint64_t trailing = text.size() - (last == text.npos ? 0 : last + 1);
        if (last != text.npos) {
          out->append(returns_, '\r');
          out->append(text.substr(0, last + 1));
          returns_ = 0;
        }
        returns_ += trailing;
        if (returns_ > kMaxReturns) {  // a line of nothing but CRs: no reason to count for ever
          out->append(returns_, '\r');
          returns_ = 0;
        }
      }
    }
    if (newline == piece.npos) return true;
    piece.remove_prefix(newline + 1);
    ++line_;
    begun_ = false;
    returns_ = 0;
  }
  return line_ < first_ || Wanted();
}

}  // namespace forkbox::api
