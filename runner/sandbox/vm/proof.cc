#include "runner/sandbox/vm/proof.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

#include "runner/sandbox/vm/agent_protocol.h"
#include "runner/sandbox/vm/fresh_awakening.h"
#include "runner/sandbox/vm/vm_sandbox.h"
#include "runner/sandbox/why_not.h"

namespace forkbox::sandbox::vm {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

struct Program {
  const char* language;
  const char* code;
};
// The answer, a space, 16 bytes of the kernel's randomness.
constexpr std::array<Program, 2> kPrograms{
    {{"python", "print(6 * 7, open('/dev/urandom', 'rb').read(16).hex())\n"},
     {"bash", "echo $((6 * 7)) $(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \\n')\n"}}};
constexpr std::string_view kAnswer = "42 ";
constexpr std::size_t kAnswerBytes = kAnswer.size() + 32 + 1;

milliseconds Left(Deadline deadline) {
  return std::max(std::chrono::duration_cast<milliseconds>(deadline - steady_clock::now()),
                  milliseconds(0));
}

Result<Description> AskLanguages(ReadyMachine machine, Deadline deadline) {
  // No stranger has been in it: should it not come up, QEMU's words are worth having.
  if (auto loaded = machine.AwaitLoaded(deadline); !loaded) return Fail(loaded.error());
  if (auto resumed = machine.Resume(); !resumed) return Fail(resumed.error());
  const int channel = machine.fork.channel.get();
  const std::string question = EncodeDescribe(FreshAwakening());
  if (::send(channel, question.data(), question.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(question.size())) {
    return FailErrno("ask a machine for its languages");
  }
  FrameReader reader(Reads::kAnswers);
  std::array<char, 16 << 10> buffer;
  for (;;) {
    if (const auto frame = reader.Next()) {
      if (frame->kind == FrameKind::kLanguages) return DecodeLanguages(frame->body);
      const auto why = frame->kind == FrameKind::kFailed
                           ? DecodeFailed(frame->body)
                           : Fail(ErrorCode::kInvalidArgument, "another answer");
      return Fail(ErrorCode::kUnavailable,
                  "a machine does not tell its languages: " + (why ? *why : why.error().message));
    }
    pollfd polled{channel, POLLIN, 0};
    const int n = ::poll(&polled, 1, static_cast<int>(Left(deadline).count()));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      return Fail(ErrorCode::kDeadlineExceeded, "a machine did not tell its languages in time");
    }
    const ssize_t got = ::recv(channel, buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      return Fail(ErrorCode::kUnavailable, "a machine ended when asked for its languages");
    }
    if (auto fed = reader.Feed({buffer.data(), static_cast<std::size_t>(got)}); !fed) {
      return Fail(ErrorCode::kUnavailable, fed.error().message);
    }
  }
}

// A number of one that is also one of the other: their kernels may have drawn before us, and not
// equally often.
bool ShareANumber(const Drawn& one, const Drawn& other) {
  return std::any_of(one.begin(), one.end(), [&](std::uint64_t number) {
    return number != 0 && std::find(other.begin(), other.end(), number) != other.end();
  });
}

// The languages of two forks, of which neither was asked before both were there.
Result<std::vector<LanguageStatus>> AskTwo(MachineSource& source, Deadline deadline) {
  std::array<Result<ReadyMachine>, 2> machines{source.Fork(deadline), source.Fork(deadline)};
  std::array<Description, 2> described;
  for (std::size_t i = 0; i < machines.size(); ++i) {
    if (!machines[i]) return Fail(machines[i].error());
    auto answer = AskLanguages(std::move(*machines[i]), deadline);
    if (!answer) return Fail(answer.error());
    described[i] = std::move(*answer);
  }
  if (ShareANumber(described[0].drawn, described[1].drawn)) {
    return Fail(ErrorCode::kUnavailable, "the processors of two forks draw the same numbers");
  }
  return std::move(described[0].languages);
}

}  // namespace

Result<std::vector<LanguageStatus>> Prove(MachineSource& source, std::string_view accelerator,
                                          Deadline deadline) {
  auto languages = AskTwo(source, deadline);
  if (!languages) return languages;

  const auto is_ready = [&](const Program& program) {
    return std::any_of(languages->begin(), languages->end(), [&](const LanguageStatus& status) {
      return status.ready && status.id == program.language;
    });
  };
  const auto program = std::find_if(kPrograms.begin(), kPrograms.end(), is_ready);
  if (program == kPrograms.end()) {
    return Fail(ErrorCode::kUnavailable, "neither python nor bash works in the image");
  }
  std::array<Result<ReadyMachine>, 2> twins{source.Fork(deadline), source.Fork(deadline)};
  std::array<std::string, 2> said;
  for (std::size_t i = 0; i < twins.size(); ++i) {
    if (!twins[i]) return Fail(twins[i].error());
    schema::Limits limits;
    limits.wall = limits.cpu = Left(deadline);
    schema::Source code;
    code.code = program->code;
    const schema::Outcome outcome =
        VmSandbox(std::move(*twins[i]), program->language, limits, 1, accelerator, {})
            .Run(code, {});
    said[i] = outcome.stdout_text;
    if (outcome.state != schema::State::kCompleted || said[i].size() != kAnswerBytes ||
        !said[i].starts_with(kAnswer)) {
      return Fail(ErrorCode::kUnavailable, WhyNot("a fork's first program", outcome));
    }
  }
  if (said[0] == said[1]) {
    return Fail(ErrorCode::kUnavailable, "two forks have the same randomness");
  }
  return languages;
}

}  // namespace forkbox::sandbox::vm
