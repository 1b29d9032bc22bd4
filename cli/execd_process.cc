#include "cli/execd_process.h"

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>

#include "api/http/server.h"
#include "api/opensandbox/execd_face.h"
#include "api/opensandbox/execd_limits.h"
#include "cli/engine.h"
#include "cli/privileges.h"
#include "cli/session_contexts.h"
#include "runner/execd/daemon.h"

namespace forkbox::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Two descriptors a connection; of each thing that runs in the box about six.
constexpr std::size_t kHouseFiles = 4096;

}  // namespace

// In the order in which they come up.
struct ExecdProcess::Parts {
  SystemClock clock;
  std::unique_ptr<sandbox::CompilingDriver> driver;
  std::vector<std::string> languages;
  std::shared_ptr<execd::Daemon> daemon;
  std::unique_ptr<api::ExecdFace> face;
  std::unique_ptr<http::Server> server;
};

ExecdProcess::ExecdProcess(const ExecdConfig& config, Log log)
    : config_(config), log_(std::move(log)), parts_(std::make_unique<Parts>()) {}

ExecdProcess::~ExecdProcess() = default;

bool ExecdProcess::Alive() const {
  return parts_->driver->Alive() && parts_->daemon->box().Alive();
}
std::uint16_t ExecdProcess::port() const { return parts_->server->port(); }
std::vector<std::string> ExecdProcess::languages() const { return parts_->languages; }
std::vector<std::string> ExecdProcess::missing_protections() const {
  return parts_->driver->MissingProtections();
}

Result<void> ExecdProcess::Start() {
  Parts& p = *parts_;
  // What people get wrong comes first.
  if (auto free = CheckCanListen(config_.address); !free) return free;
  std::optional<FileOwner> user;
  if (IsRoot()) {
    auto made = EnsureServiceUser();
    if (!made) return Fail(made.error());
    user = *made;
  }
  RaiseFileLimit(kHouseFiles + 2 * config_.max_connections);
  // Nothing is run but in the one box: no forks wait for anybody.
  auto driver = StartEngine({.pool_size = 0, .max_sandboxes = 64, .max_boxes = 1, .log = log_});
  if (!driver) return Fail(driver.error());
  p.driver = std::move(*driver);
  if (user) {
    if (auto dropped = DropPrivileges(*user); !dropped) return dropped;
  }
  if (auto opened = OpenEngine(*p.driver); !opened) return opened;

  auto box = p.driver->process().OpenBox(config_.limits);
  if (!box) return Fail(box.error());
  execd::Daemon::Options options;
  options.env = config_.env;
  options.contexts = SessionContexts(*p.driver);
  options.contexts.env = config_.env;
  p.languages = options.contexts.languages;
  options.cpu_cores = config_.limits.cpu_millis > 0
                          ? config_.limits.cpu_millis / 1000.0
                          : std::max(1U, std::thread::hardware_concurrency());
  p.daemon = std::make_shared<execd::Daemon>(std::move(options), std::move(*box), p.clock, log_);
  return StartServer();
}

Result<void> ExecdProcess::StartServer() {
  Parts& p = *parts_;
  api::ExecdFace::Options face_options;
  face_options.max_running = 256;  // it is the only one here; some threads are left for refusals
  p.face = std::make_unique<api::ExecdFace>(face_options, p.clock, log_);
  http::Server::Options options;
  options.address = config_.address.host;
  options.port = config_.address.port;
  options.log = log_;
  options.limits.max_connections = config_.max_connections;
  options.limits.max_body_bytes = face_options.max_body_bytes;
  api::WidenForExecd(&options.limits);
  options.error_body = [](const http::OwnAnswer& answer) {
    return api::ExecdFace::OwnError(answer);
  };
  p.server = std::make_unique<http::Server>(std::move(options));
  p.server->Tree(
      "/",
      [this](http::Call& call) {
        if (!config_.token.empty() && !api::ExecdFace::TokenMatches(call.fields, config_.token)) {
          return api::ExecdFace::Refuse401(call);
        }
        // Not call.tail, which is without the slash of the root.
        parts_->face->Serve(call, call.path, parts_->daemon);
      },
      api::ExecdFace::TakesOver);
  return p.server->Start();
}

void ExecdProcess::Drain(milliseconds grace, const std::function<bool()>& hurry) {
  Parts& p = *parts_;
  p.face->EndStreams();
  // In slices, so that a second signal is heard.
  constexpr milliseconds kSlice{100};
  const Deadline deadline = steady_clock::now() + grace;
  while (p.server->Drain(kSlice) != 0 && steady_clock::now() < deadline && !hurry()) {
  }
  // What runs ends with it, and what waits for that with this.
  p.daemon->box().End();
  p.server->Drain(kSlice);
  p.server->Stop();
  p.face.reset();
  p.daemon.reset();  // here, since all that could share it has ended
}

}  // namespace forkbox::cli
