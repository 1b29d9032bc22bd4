// LocalFleet: the sandboxes of a host in this process.
#pragma once

#include <memory>
#include <utility>

#include "api/opensandbox/execd_face.h"
#include "api/opensandbox/sandbox_fleet.h"
#include "api/opensandbox/sandbox_proxy.h"
#include "base/clock.h"
#include "base/log.h"

namespace forkbox::api {

class LocalFleet final : public SandboxFleet {
 public:
  // All must outlive it.
  LocalFleet(sandboxes::SandboxHost& host, const Clock& clock, Log log)
      : host_(host),
        face_(std::make_unique<ExecdFace>(
            ExecdFace::Options{.max_body_bytes = SandboxProxy::kMaxBodyBytes}, clock,
            std::move(log))),
        proxy_(host, *face_) {}

  Result<store::SandboxRecord> Create(sandboxes::SandboxSpec spec) override {
    return host_.Create(std::move(spec));
  }
  Result<store::SandboxRecord> Fork(const store::SandboxRecord& source,
                                    sandboxes::SandboxSpec spec) override {
    return host_.Fork(source.id, std::move(spec));
  }
  Result<void> Delete(const store::SandboxRecord& record) override {
    return host_.Delete(record.id);
  }
  Result<void> Pause(const store::SandboxRecord& record) override { return host_.Pause(record.id); }
  Result<void> Resume(const store::SandboxRecord& record) override {
    return host_.Resume(record.id);
  }
  Result<void> Renew(const store::SandboxRecord& record, std::int64_t expires_unix_ms) override {
    return host_.Renew(record.id, expires_unix_ms);
  }
  [[nodiscard]] bool reachable_elsewhere() const override { return false; }

  void Proxy(http::Call& call) override { proxy_.Serve(call); }
  bool TakesOver(http::Method method, std::string_view tail, const http::Fields& fields) override {
    return SandboxProxy::TakesOver(method, tail, fields);
  }
  std::size_t BodyLimit(std::string_view path, const http::Fields& fields) override {
    return proxy_.BodyLimit(path, fields);
  }
  void EndStreams() override {
    if (face_) face_->EndStreams();
  }
  void Close() override { face_.reset(); }

 private:
  sandboxes::SandboxHost& host_;
  std::unique_ptr<ExecdFace> face_;
  SandboxProxy proxy_;
};

}  // namespace forkbox::api
