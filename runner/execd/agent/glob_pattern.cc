#include "runner/execd/agent/glob_pattern.h"

#include <optional>
#include <string>

namespace forkbox::execd {
namespace {

constexpr std::size_t kMaxNegations = 8;
constexpr std::size_t kMaxBraceDepth = 32;

// The code points of `text`. A byte that does not belong to one is a character above all of
// Unicode's, and so matches itself.
std::vector<char32_t> Characters(std::string_view text) {
  std::vector<char32_t> characters;
  characters.reserve(text.size());
  std::size_t at = 0;
  while (at < text.size()) {
    const auto lead = static_cast<unsigned char>(text[at]);
    const std::size_t length = lead < 0x80                   ? 1
                               : lead >= 0xC2 && lead < 0xE0 ? 2
                               : lead >= 0xE0 && lead < 0xF0 ? 3
                               : lead >= 0xF0 && lead < 0xF5 ? 4
                                                             : 0;
    char32_t value = length == 1 ? lead : lead & (0xFFU >> (length + 1));
    bool whole = length > 0 && at + length <= text.size();
    for (std::size_t i = 1; whole && i < length; ++i) {
      const auto byte = static_cast<unsigned char>(text[at + i]);
      whole = (byte & 0xC0U) == 0x80;
      value = (value << 6U) | (byte & 0x3FU);
    }
    if (whole) whole = !(length == 3 && value < 0x800) && !(length == 4 && value < 0x10000);
    characters.push_back(whole ? value : 0x110000U + lead);
    at += whole ? length : 1;
  }
  return characters;
}

tl::unexpected<Error> Bad(std::string_view why) {
  return Fail(ErrorCode::kInvalidArgument, "invalid pattern: " + std::string(why));
}

struct Negation {
  std::size_t begin = 0;  // of "!("
  std::size_t close = 0;  // of ")"
};

// The first "!(…)" outside of classes.
Result<std::optional<Negation>> FindNegation(const std::vector<char32_t>& pattern) {
  std::size_t braces = 0;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    switch (pattern[i]) {
      case '\\':
        ++i;
        break;
      case '[':
        while (++i < pattern.size() && pattern[i] != ']') {
          if (pattern[i] == '\\') ++i;
        }
        break;
      case '{':
        ++braces;
        break;
      case '}':
        if (braces > 0) --braces;
        break;
      case '!': {
        if (i + 1 >= pattern.size() || pattern[i + 1] != '(') break;
        if (braces > 0) return Bad("a negation inside braces");
        std::size_t depth = 0;
        for (std::size_t close = i + 1; close < pattern.size(); ++close) {
          if (pattern[close] == '\\')
            ++close;
          else if (pattern[close] == '(')
            ++depth;
          else if (pattern[close] == ')' && --depth == 0)
            return std::optional(Negation{i, close});
        }
        return Bad("a negation does not end");
      }
      default:
        break;
    }
  }
  return std::optional<Negation>();
}

}  // namespace

// Makes an automaton of a pattern without negations, in two steps: parts, then states from the
// end to the beginning, so that each knows its next.
class GlobParser {
 public:
  explicit GlobParser(const std::vector<char32_t>& pattern) : pattern_(pattern) {}

  Result<GlobPattern::Automaton> Parse() {
    Sequence sequence;
    if (auto parsed = ParseSequence(0, &sequence); !parsed) return Fail(parsed.error());
    automaton_.states.emplace_back().kind = State::Kind::kAccept;
    automaton_.start = Build(sequence, 0);
    return std::move(automaton_);
  }

 private:
  using State = GlobPattern::State;
  struct Part;
  using Sequence = std::vector<Part>;
  struct Part {
    enum class Kind { kState, kStar, kChoice };
    Kind kind = Kind::kState;
    State state = {};
    std::vector<Sequence> choices = {};
  };

  static State Make(State::Kind kind, char32_t character = 0, std::size_t next = 0) {
    State state;
    state.kind = kind;
    state.character = character;
    state.next = next;
    return state;
  }

  [[nodiscard]] bool At(std::size_t position, char32_t character) const {
    return position < pattern_.size() && pattern_[position] == character;
  }

  // Up to the end, or inside braces to their next ',' or '}'.
  Result<void> ParseSequence(std::size_t depth, Sequence* sequence) {
    bool segment_start = true;
    while (at_ < pattern_.size()) {
      const char32_t c = pattern_[at_];
      if (depth > 0 && (c == ',' || c == '}')) return {};
      const bool starts = std::exchange(segment_start, false);
      if (c == '*') {
        const bool twice = At(at_ + 1, '*');
        if (twice && starts && At(at_ + 2, '/')) {  // "**/": no folder is one of the choices
          at_ += 3;
          segment_start = true;
          continue;
        }
        at_ += twice ? 2 : 1;
        sequence->push_back({.kind = Part::Kind::kStar});
        continue;
      }
      if (c == '/') {
        if (at_ + 3 == pattern_.size() && At(at_ + 1, '*') && At(at_ + 2, '*')) {
          at_ = pattern_.size();
          continue;
        }
        ++at_;
        segment_start = true;
        sequence->push_back({.state = Make(State::Kind::kNever)});
        continue;
      }
      Result<void> parsed;
      if (c == '[') {
        parsed = ParseClass(sequence);
      } else if (c == '{') {
        parsed = ParseChoice(depth, sequence);
      } else if (c == '?') {
        ++at_;
        sequence->push_back({.state = Make(State::Kind::kAny)});
      } else {
        if (c == '\\' && ++at_ >= pattern_.size()) return Bad("nothing is behind the last \\");
        sequence->push_back({.state = Make(State::Kind::kCharacter, pattern_[at_])});
        ++at_;
      }
      if (!parsed) return parsed;
    }
    if (depth > 0) return Bad("a { without }");
    return {};
  }

  Result<void> ParseClass(Sequence* sequence) {
    ++at_;
    State state = Make(State::Kind::kClass);
    state.negated = At(at_, '!') || At(at_, '^');
    if (state.negated) ++at_;
    if (At(at_, ']')) return Bad("an empty []");
    char32_t last = 0;
    bool may_begin_range = false;  // with `last`
    for (; at_ < pattern_.size() && pattern_[at_] != ']'; ++at_) {
      if (may_begin_range && pattern_[at_] == '-' && at_ + 1 < pattern_.size() &&
          pattern_[at_ + 1] != ']') {
        ++at_;
        if (pattern_[at_] == '\\' && ++at_ >= pattern_.size()) break;
        state.ranges.emplace_back(last, pattern_[at_]);
        may_begin_range = false;
        continue;
      }
      if (pattern_[at_] == '\\' && ++at_ >= pattern_.size()) break;
      last = pattern_[at_];
      state.ranges.emplace_back(last, last);
      may_begin_range = true;
    }
    if (at_ >= pattern_.size()) return Bad("a [ without ]");
    ++at_;
    sequence->push_back({.state = std::move(state)});
    return {};
  }

  Result<void> ParseChoice(std::size_t depth, Sequence* sequence) {
    if (depth >= kMaxBraceDepth) return Bad("braces are nested too deep");
    Part part{.kind = Part::Kind::kChoice};
    do {
      ++at_;  // '{' or ','
      if (auto parsed = ParseSequence(depth + 1, &part.choices.emplace_back()); !parsed) {
        return parsed;
      }
    } while (pattern_[at_] == ',');
    ++at_;
    sequence->push_back(std::move(part));
    return {};
  }

  std::size_t Add(State state) {
    automaton_.states.push_back(std::move(state));
    return automaton_.states.size() - 1;
  }

  // Where it starts when `next` comes behind it.
  std::size_t Build(const Sequence& sequence, std::size_t next) {
    for (std::size_t i = sequence.size(); i-- > 0;) {
      const Part& part = sequence[i];
      if (part.kind == Part::Kind::kStar) {
        const std::size_t split = Add(Make(State::Kind::kSplit, 0, next));
        const std::size_t any = Add(Make(State::Kind::kAny, 0, split));
        automaton_.states[split].others.push_back(any);
        next = split;
      } else if (part.kind == Part::Kind::kChoice) {
        State split = Make(State::Kind::kSplit);
        split.next = Build(part.choices.front(), next);
        for (std::size_t j = 1; j < part.choices.size(); ++j) {
          split.others.push_back(Build(part.choices[j], next));
        }
        next = Add(std::move(split));
      } else {
        State state = part.state;
        state.next = next;
        next = Add(std::move(state));
      }
    }
    return next;
  }

  const std::vector<char32_t>& pattern_;
  std::size_t at_ = 0;
  GlobPattern::Automaton automaton_;
};

Result<GlobPattern> GlobPattern::Parse(std::string_view text) {
  std::vector<char32_t> pattern = Characters(text);
  GlobPattern glob;
  for (;;) {
    auto negation = FindNegation(pattern);
    if (!negation) return Fail(negation.error());
    if (!*negation) break;
    if (glob.before_negations_.size() == kMaxNegations) return Bad("too many negations");
    const auto [begin, close] = **negation;
    const std::vector<char32_t> before(pattern.begin(), pattern.begin() + static_cast<long>(begin));
    auto prefix = GlobParser(before).Parse();
    if (!prefix) return Fail(prefix.error());
    glob.before_negations_.push_back(std::move(*prefix));
    pattern.erase(pattern.begin() + static_cast<long>(close));
    pattern.erase(pattern.begin() + static_cast<long>(begin),
                  pattern.begin() + static_cast<long>(begin) + 2);
  }
  auto whole = GlobParser(pattern).Parse();
  if (!whole) return Fail(whole.error());
  glob.whole_ = std::move(*whole);
  return glob;
}

bool GlobPattern::Matches(std::string_view name) const {
  const std::vector<char32_t> characters = Characters(name);
  bool matched = whole_.Matches(characters);
  for (std::size_t i = before_negations_.size(); i-- > 0;) {
    matched = !matched && before_negations_[i].MatchesProperPrefix(characters);
  }
  return matched;
}

bool GlobPattern::Automaton::Matches(const std::vector<char32_t>& name) const {
  return Run(name, false);
}

bool GlobPattern::Automaton::MatchesProperPrefix(const std::vector<char32_t>& name) const {
  return !name.empty() && Run(name, true);
}

bool GlobPattern::Automaton::Run(const std::vector<char32_t>& name, bool prefix) const {
  constexpr std::size_t kAcceptState = 0;
  std::vector<bool> seen(states.size());
  std::vector<std::size_t> now;
  std::vector<std::size_t> then;
  Add(start, &seen, &now);
  for (const char32_t c : name) {
    if (prefix && seen[kAcceptState]) return true;
    seen.assign(states.size(), false);
    then.clear();
    for (const std::size_t index : now) {
      const State& state = states[index];
      bool takes = state.kind == State::Kind::kAny ||
                   (state.kind == State::Kind::kCharacter && state.character == c);
      if (state.kind == State::Kind::kClass) {
        for (const auto& [low, high] : state.ranges) takes = takes || (low <= c && c <= high);
        takes = takes != state.negated;
      }
      if (takes) Add(state.next, &seen, &then);
    }
    now.swap(then);
    if (now.empty()) return false;
  }
  return !prefix && seen[kAcceptState];
}

void GlobPattern::Automaton::Add(std::size_t state, std::vector<bool>* seen,
                                 std::vector<std::size_t>* set) const {
  std::vector<std::size_t> todo{state};
  while (!todo.empty()) {
    const std::size_t index = todo.back();
    todo.pop_back();
    if ((*seen)[index]) continue;
    (*seen)[index] = true;
    if (states[index].kind != State::Kind::kSplit) {
      set->push_back(index);
      continue;
    }
    todo.push_back(states[index].next);
    todo.insert(todo.end(), states[index].others.begin(), states[index].others.end());
  }
}

}  // namespace forkbox::execd
