#include "runner/execd/file_upload.h"

#include <chrono>
#include <utility>

#include "schema/utf8.h"

namespace forkbox::execd {

using std::chrono::steady_clock;

FileUpload::~FileUpload() {
  if (!lease_) return;
  if (caller_.frozen()) {
    (void)Abandon({ErrorCode::kUnavailable, "not finished"});
    return;
  }
  const Deadline deadline = steady_clock::now() + caller_.patience().begin;
  if (auto sent = (*lease_)->Send(FrameKind::kAbort, "", deadline); !sent) {
    (void)Abandon(sent.error());
    return;
  }
  auto frame = (*lease_)->Receive(deadline);
  if (frame && frame->kind == FrameKind::kDone) {
    lease_->Release();
  } else {
    (void)Abandon({ErrorCode::kUnavailable, "not finished"});
  }
}

Result<void> FileUpload::Write(std::string_view bytes) {
  if (error_) return Fail(*error_);
  if (!lease_) return Fail(ErrorCode::kConflict, "the upload is over");
  while (!bytes.empty()) {
    const std::string_view part = bytes.substr(0, kDataFrameBytes);
    constexpr bool kUnlessItSpeaks = true;
    auto sent = (*lease_)->Send(FrameKind::kData, part,
                                steady_clock::now() + caller_.patience().quick, kUnlessItSpeaks);
    if (!sent && sent.error().code == ErrorCode::kConflict) {
      // Out of turn there is nothing but bad news.
      auto failed = Answer();
      return failed ? Abandon({ErrorCode::kUnavailable, "the upload ended too early"})
                    : std::move(failed);
    }
    if (!sent) return Abandon(sent.error());
    bytes.remove_prefix(part.size());
  }
  return {};
}

Result<void> FileUpload::Commit() {
  if (error_) return Fail(*error_);
  if (!lease_) return Fail(ErrorCode::kConflict, "the upload is over");
  AgentRequest request;
  request.operation = Operation::kUpload;
  request.owner = permission_.owner;
  request.group = permission_.group;
  request.mode = permission_.mode;
  constexpr bool kUnlessItSpeaks = true;
  auto sent = (*lease_)->Send(FrameKind::kCommit, EncodeRequest(request),
                              steady_clock::now() + caller_.patience().quick, kUnlessItSpeaks);
  if (!sent && sent.error().code != ErrorCode::kConflict) return Abandon(sent.error());
  auto answer = Answer();
  if (!answer) return answer;
  lease_->Release();
  lease_.reset();
  return {};
}

Result<void> FileUpload::Answer() {
  auto frame = (*lease_)->Receive(steady_clock::now() + caller_.patience().quick);
  if (!frame) return Abandon(frame.error());
  AgentAnswer answer;
  if (frame->kind == FrameKind::kDone && DecodeAnswer(frame->body, &answer)) return {};
  Error error;
  if (frame->kind != FrameKind::kFailed || !DecodeFailure(frame->body, &error)) {
    return Abandon({ErrorCode::kUnavailable, "the process inside the sandbox breaks the rules"});
  }
  error.message = schema::ToValidUtf8(std::move(error.message));
  error_ = error;
  lease_.reset();  // it has cleaned up, and ends
  return Fail(std::move(error));
}

Result<void> FileUpload::Abandon(const Error& why) {
  error_ = caller_.Explain(why);
  lease_->Drop();
  lease_.reset();
  caller_.RemoveTemporary(temporary_);
  return Fail(*error_);
}

}  // namespace forkbox::execd
