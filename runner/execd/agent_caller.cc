#include "runner/execd/agent_caller.h"

#include <algorithm>
#include <utility>

#include "schema/utf8.h"

namespace forkbox::execd {
namespace {

using std::chrono::steady_clock;

// Those that stage a file, whose kBegun says where.
bool Stages(Operation operation) {
  return operation == Operation::kReplace || operation == Operation::kUpload;
}

AgentPool::Use UseOf(Operation operation) {
  switch (operation) {
    case Operation::kList:
    case Operation::kSearch:
      return AgentPool::Use::kListing;
    case Operation::kUpload:
      return AgentPool::Use::kUpload;
    default:
      return AgentPool::Use::kShort;
  }
}

// How many entries are the answer.
std::size_t MaxEntries(Operation operation) {
  if (UseOf(operation) == AgentPool::Use::kListing) return kMaxListedEntries;
  return operation == Operation::kInfo ? 1 : 0;
}

tl::unexpected<Error> Nonsense() {
  return Fail(ErrorCode::kUnavailable, "the process inside the sandbox breaks the rules");
}

}  // namespace

struct AgentCaller::Attempt {
  Result<AgentReply> reply;
  bool answered = false;  // the reply, or the error, is the agent's; the link is as good as before
  bool refused = false;   // the error is ours, and would be again
  bool begun = false;
  std::string temporary;
};

AgentCaller::Attempt AgentCaller::Try(AgentLink& link, Operation operation,
                                      const std::string& request, Deadline deadline) const {
  Attempt attempt;
  const auto broken = [&attempt](const Error& error) -> Attempt {
    attempt.reply = Fail(error);
    return std::move(attempt);
  };
  // A request that was not sent whole is not begun.
  if (auto sent = link.Send(FrameKind::kRequest, request, deadline); !sent) {
    return broken(sent.error());
  }
  auto begun = link.Receive(std::min(deadline, steady_clock::now() + patience_.begin));
  if (!begun) {
    // After this it cannot say any more that it begins, and so does not; unless it just has.
    link.Shut();
    const Error why = begun.error();
    begun = link.Receive(steady_clock::now() + std::chrono::milliseconds(100));
    attempt.begun = begun.has_value();
    return broken(why);
  }
  attempt.begun = true;
  std::string temporary;
  if (begun->kind != FrameKind::kBegun || !DecodeText(begun->body, &temporary)) {
    return broken(Nonsense().value());
  }
  // What others say of files is not believed: whoever could have us remove something for each
  // request could have us do so for each removal.
  if (Stages(operation)) attempt.temporary = std::move(temporary);
  const std::size_t max_entries = MaxEntries(operation);
  const std::size_t max_frame_bytes =
      UseOf(operation) == AgentPool::Use::kListing ? kMaxReplyBytes : kMaxShortReplyBytes;
  ByteBudget::Share held(ByteBudget::OfProcess());
  AgentReply reply;
  std::size_t listed_bytes = 0;
  for (;;) {
    auto frame = link.Receive(deadline, max_frame_bytes);
    if (!frame) return broken(frame.error());
    switch (frame->kind) {
      case FrameKind::kEntries:
        listed_bytes += frame->body.size();
        if (listed_bytes > kMaxListedBytes ||
            !DecodeEntries(frame->body, max_entries, &reply.entries)) {
          return broken(Nonsense().value());
        }
        if (!held.Resize(listed_bytes + reply.entries.capacity() * sizeof(FileInfo))) {
          attempt.refused = true;
          return broken({ErrorCode::kUnavailable, "too much is being listed at once; try again"});
        }
        break;
      case FrameKind::kDone:
        if (!DecodeAnswer(frame->body, &reply.answer)) return broken(Nonsense().value());
        reply.descriptor = std::move(frame->descriptor);
        reply.temporary = attempt.temporary;
        attempt.answered = true;
        attempt.reply = std::move(reply);
        return attempt;
      case FrameKind::kFailed: {
        Error error;
        if (!DecodeFailure(frame->body, &error)) return broken(Nonsense().value());
        error.message = schema::ToValidUtf8(std::move(error.message));
        attempt.answered = true;
        attempt.reply = Fail(std::move(error));
        return attempt;
      }
      default:
        return broken(Nonsense().value());
    }
  }
}

Result<AgentReply> AgentCaller::Call(const AgentRequest& request, Repeat repeat,
                                     std::chrono::milliseconds patience) {
  return Run(request, repeat, patience, nullptr);
}

Result<AgentReply> AgentCaller::Begin(const AgentRequest& request,
                                      std::optional<AgentPool::Lease>* lease) {
  return Run(request, Repeat::kHarmless, patience_.quick, lease);
}

Result<AgentReply> AgentCaller::Run(const AgentRequest& request, Repeat repeat,
                                    std::chrono::milliseconds patience,
                                    std::optional<AgentPool::Lease>* keep) {
  const Deadline deadline = steady_clock::now() + patience;
  const std::string encoded = EncodeRequest(request);
  if (encoded.size() > kMaxRequestBytes) {
    return Fail(ErrorCode::kInvalidArgument, "the texts are too long");
  }
  constexpr int kAttempts = 2;
  for (int i = 1;; ++i) {
    const AgentPool::Use use = UseOf(request.operation);
    // Others' listings take long, and may be made to: they are not waited for as long as one's own.
    const Deadline turn = std::min(deadline, steady_clock::now() + patience_.quick);
    auto lease = pool_.Take(turn, use);
    if (!lease) return Fail(lease.error());
    Attempt attempt = Try(**lease, request.operation, encoded, deadline);
    if (attempt.answered) {
      if (attempt.reply && keep != nullptr) {
        keep->emplace(std::move(*lease));
      } else {
        lease->Release();
      }
      return std::move(attempt.reply);
    }
    if (attempt.refused) return std::move(attempt.reply);
    lease->Drop();
    RemoveTemporary(attempt.temporary);
    const bool again = !attempt.begun || repeat == Repeat::kHarmless;
    if (!again || i == kAttempts || steady_clock::now() >= deadline || !box_.Alive()) {
      return Fail(Explain(attempt.reply.error()));
    }
  }
}

Error AgentCaller::Explain(const Error& error) const {
  if (!box_.Alive()) return {ErrorCode::kUnavailable, "the sandbox has ended"};
  if (frozen()) return {ErrorCode::kUnavailable, "the sandbox is paused"};
  return {ErrorCode::kInternal, error.message};
}

void AgentCaller::RemoveTemporary(const std::string& path) {
  if (path.empty() || path.size() > kMaxPathBytes || !box_.Alive() || frozen()) return;
  AgentRequest request;
  request.operation = Operation::kRemove;
  request.path = path;
  (void)Call(request, Repeat::kHarmless, patience_.begin);
}

}  // namespace forkbox::execd
