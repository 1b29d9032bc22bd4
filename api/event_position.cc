#include "api/event_position.h"

#include <array>
#include <bit>
#include <charconv>

namespace forkbox::api {
namespace {

using Phase = EventPosition::Phase;

constexpr std::array<Phase, 7> kPhases{Phase::kStart,   Phase::kQueued,        Phase::kCompiling,
                                       Phase::kRunning, Phase::kCompileOutput, Phase::kValue,
                                       Phase::kDone};
constexpr std::size_t kMaxIdBytes = 64;
constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 40;
constexpr std::size_t kDigestDigits = 16;

std::size_t RankOf(Phase phase) {
  std::size_t rank = 0;
  while (kPhases.at(rank) != phase) ++rank;
  return rank;
}

// The number before the next hyphen, or at the end; all of its characters are digits.
std::optional<std::uint64_t> TakeNumber(std::string_view* text, int base) {
  const std::string_view digits = text->substr(0, text->find('-'));
  std::uint64_t number = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), number, base);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size()) {
    return std::nullopt;
  }
  text->remove_prefix(digits.size());
  if (!text->empty()) text->remove_prefix(1);
  return number;
}

}  // namespace

void EventPosition::Stream::Advance(std::string_view text) {
  bytes += text.size();
  for (const char c : text) {
    digest = (digest ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  }
}

std::uint64_t EventPosition::Digest() const {
  if (parsed_digest_) return *parsed_digest_;
  return stdout_.digest ^ std::rotl(stderr_.digest, 31);
}

bool EventPosition::IsBefore(Phase phase) const { return RankOf(phase_) < RankOf(phase); }

std::string EventPosition::ToString() const {
  std::string id(1, static_cast<char>(phase_));
  id += '-' + std::to_string(stdout_.bytes) + '-' + std::to_string(stderr_.bytes) + '-';
  std::array<char, kDigestDigits> digits{};
  const auto [end, error] =
      std::to_chars(digits.data(), digits.data() + digits.size(), Digest(), 16);
  const auto length = static_cast<std::size_t>(end - digits.data());
  id.append(kDigestDigits - length, '0').append(digits.data(), length);
  return id;
}

std::optional<EventPosition> EventPosition::Parse(std::string_view id) {
  if (id.size() > kMaxIdBytes || id.size() < 2 || id[1] != '-') return std::nullopt;
  EventPosition position;
  bool known = false;
  for (const Phase phase : kPhases) {
    if (static_cast<char>(phase) != id[0]) continue;
    position.phase_ = phase;
    known = true;
  }
  id.remove_prefix(2);
  const auto stdout_bytes = TakeNumber(&id, 10);
  const auto stderr_bytes = TakeNumber(&id, 10);
  if (!known || !stdout_bytes || !stderr_bytes || *stdout_bytes > kMaxBytes ||
      *stderr_bytes > kMaxBytes || id.size() != kDigestDigits) {
    return std::nullopt;
  }
  const auto digest = TakeNumber(&id, 16);
  if (!digest || !id.empty()) return std::nullopt;
  position.stdout_.bytes = *stdout_bytes;
  position.stderr_.bytes = *stderr_bytes;
  position.parsed_digest_ = *digest;
  return position;
}

bool EventPosition::Resume(std::string_view stdout_text, std::string_view stderr_text) {
  if (stdout_text.size() < stdout_.bytes || stderr_text.size() < stderr_.bytes) return false;
  EventPosition there;
  there.phase_ = phase_;
  there.AdvanceStdout(stdout_text.substr(0, stdout_.bytes));
  there.AdvanceStderr(stderr_text.substr(0, stderr_.bytes));
  if (there.Digest() != Digest()) return false;
  *this = there;
  return true;
}

}  // namespace forkbox::api
