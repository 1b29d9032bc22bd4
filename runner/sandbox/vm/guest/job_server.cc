#include "runner/sandbox/vm/guest/job_server.h"

#include <chrono>
#include <utility>

namespace forkbox::sandbox::vm {
namespace {

// The host watches the time, by its own clock.
constexpr std::chrono::hours kNoLimit{24};

End EndOf(schema::Outcome outcome) {
  End end;
  end.reason = outcome.reason;
  end.exit_code = outcome.exit_code;
  end.signal = outcome.signal;
  end.stdout_truncated = outcome.stdout_truncated;
  end.stderr_truncated = outcome.stderr_truncated;
  end.compile_output = std::move(outcome.compile_output);
  end.value_json = std::move(outcome.value_json);
  end.message = std::move(outcome.message);
  end.compile = outcome.timings.compile;
  return end;
}

}  // namespace

void JobServer::Serve(const Frame& frame, const Send& send) {
  if (frame.kind == FrameKind::kDescribe) {
    auto awakening = DecodeDescribe(frame.body);
    if (!awakening) return send(EncodeFailed(awakening.error().message));
    Description description;
    description.drawn = draw_();
    if (auto awake = awake_(*awakening); !awake) return send(EncodeFailed(awake.error().message));
    description.languages = driver_.Languages();
    return send(EncodeLanguages(description));
  }
  auto job = DecodeJob(frame.body);
  if (!job) return send(EncodeFailed(job.error().message));
  if (auto awake = awake_(job->awakening); !awake) return send(EncodeFailed(awake.error().message));
  job->limits.wall = job->limits.cpu = kNoLimit;
  Run(*job, send);
}

void JobServer::Run(const Job& job, const Send& send) {
  auto sandbox = driver_.ForkFor(job.language, job.limits, job.source.code, job.source.entry);
  if (!sandbox) return send(EncodeFailed(sandbox.error().message));
  sandbox_ = std::move(*sandbox);
  const auto sink = [&](const schema::Event& event) {
    if (event.kind == schema::EventKind::kState) return send(EncodeState(event.data));
    if (event.kind == schema::EventKind::kValue) return;  // part of the end
    for (std::string_view rest = event.data; !rest.empty();) {
      const std::string_view piece = rest.substr(0, kMaxOutputPiece);
      send(EncodeOutput(event.kind, piece));
      rest.remove_prefix(piece.size());
    }
  };
  send(EncodeEnd(EndOf(sandbox_->Run(job.source, sink))));
}

}  // namespace forkbox::sandbox::vm
