// A shell pattern for the name of a file (no path: what asks for a '/' matches nothing, but for a
// "**/" in front and a "/**" behind, which stand for no folder at all).
//
//   *  **      any run of characters     {a,b*}   one of these, nestable
//   ?          one character             \x       x itself
//   [a-z!]     one of these              [!x]     [^x] one that is none of these
//   x!(y)z     begins as x, and is not as a whole matched by "xyz"
//
// Characters are code points; bytes that are no UTF-8 are characters of their own. Matching takes
// time in proportion to the lengths of both, whatever the pattern. Immutable once parsed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace forkbox::execd {

class GlobPattern {
 public:
  // kInvalidArgument: a class, brace, negation or escape that does not end, an empty class, more
  // than 8 negations, one inside braces, or braces more than 32 deep.
  static Result<GlobPattern> Parse(std::string_view pattern);

  [[nodiscard]] bool Matches(std::string_view name) const;

 private:
  struct State {
    enum class Kind { kCharacter, kAny, kClass, kSplit, kNever, kAccept };
    Kind kind = Kind::kNever;
    char32_t character = 0;
    bool negated = false;
    std::vector<std::pair<char32_t, char32_t>> ranges;
    std::size_t next = 0;
    std::vector<std::size_t> others;  // kSplit: besides next
  };
  // A nondeterministic automaton, followed in all of its states at once.
  struct Automaton {
    std::vector<State> states;
    std::size_t start = 0;
    [[nodiscard]] bool Matches(const std::vector<char32_t>& name) const;
    // That it matches the beginning of what goes on.
    [[nodiscard]] bool MatchesProperPrefix(const std::vector<char32_t>& name) const;

   private:
    [[nodiscard]] bool Run(const std::vector<char32_t>& name, bool prefix) const;
    void Add(std::size_t state, std::vector<bool>* seen, std::vector<std::size_t>* set) const;
  };
  friend class GlobParser;

  std::vector<Automaton> before_negations_;
  Automaton whole_;  // all negations' texts in their places
};

}  // namespace forkbox::execd
