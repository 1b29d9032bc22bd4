// The answer of a function: what its child said on the private channel, read as bytes from a
// stranger. The program shares a process with the code that answers for it, so anything may come:
// nothing, rubbish, too much, two answers. It can only lie about its own value.
#pragma once

#include <cstddef>
#include <string_view>

#include "schema/execution.h"

namespace forkbox::sandbox {

// Of a value as JSON, and of what is read of an answer.
inline constexpr std::size_t kMaxValueBytes = 1U << 20;
inline constexpr std::size_t kMaxAnswerBytes = kMaxValueBytes + 1;
inline constexpr std::size_t kMaxValueDepth = 512;  // of arrays and objects in each other

// Adds to a finished outcome what its child answered; `cut`: there was more than kMaxAnswerBytes.
// Exited with 0: value_json, or, where the answer is not exactly one JSON value, a message that
// says so. Exited otherwise: kCompileFailed if the child says that the code never ran; what stderr
// has is then the compiler's. Everything else is left as it is.
void ApplyAnswer(std::string_view answer, bool cut, schema::Outcome* outcome);

}  // namespace forkbox::sandbox
