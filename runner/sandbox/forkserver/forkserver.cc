#include "runner/sandbox/forkserver/forkserver.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "runner/sandbox/box.h"
#include "runner/sandbox/forkserver/cell.h"
#include "runner/sandbox/forkserver/cgroup.h"
#include "runner/sandbox/forkserver/driver_line.h"
#include "runner/sandbox/forkserver/live_cell.h"
#include "runner/sandbox/forkserver/machine_filter.h"
#include "runner/sandbox/forkserver/net_namespaces.h"
#include "runner/sandbox/forkserver/orphans.h"
#include "runner/sandbox/forkserver/remains.h"
#include "runner/sandbox/forkserver/root_fs.h"
#include "runner/sandbox/forkserver/sealed_filter.h"
#include "runner/sandbox/forkserver/seccomp_filter.h"
#include "runner/sandbox/forkserver/streams.h"
#include "runner/sandbox/forkserver/warm_template.h"
#include "runner/sandbox/protocol.h"
#include "runner/sandbox/template/fork_loop.h"
#include "runner/sandbox/wire.h"

namespace forkbox::sandbox {
namespace {

class Forkserver {
 public:
  Forkserver(DriverLine* driver, const ForkserverConfig& config, CgroupTree cgroups,
             const std::vector<sock_filter>& program_filter,
             const std::vector<sock_filter>& machine_filter)
      : driver_(driver),
        config_(config),
        cgroups_(std::move(cgroups)),
        wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        program_filter_fd_(SealedFilter(program_filter)),
        machine_filter_fd_(SealedFilter(machine_filter)) {
    for (std::uint32_t i = config.uid_count; i-- > 1;) free_uids_.push_back(i);  // 0 is the inits'
    for (const TemplateSpec& spec : config.templates) {
      templates_.emplace_back();
      templates_.back().spec = spec;
      templates_.back().wanted = !spec.lazy;
      if (spec.filter == TemplateSpec::Filter::kMachine && config.privileged) {
        templates_.back().spec.env.push_back(std::string(kTemplateUidVariable) + "=" +
                                             std::to_string(config.uid_base));
      }
    }
  }

  int Run() {
    driver_->SayReady(cgroups_.protections() | (config_.privileged ? kOwnUid : 0U));
    for (std::size_t i = 0; i < templates_.size(); ++i) {
      if (templates_[i].wanted) StartTemplate(i);
    }
    std::thread reaper([this] { ReapLoop(); });
    for (ForkRequest request; driver_->Hear(&request);) Build(request);
    // The process is pid 1: its end is the end of every template and cell. Their cgroups are
    // removed first, as far as the dead leave them.
    KillEverything();
    stop_ = true;
    Wake();
    reaper.join();
    return 0;
  }

 private:
  void Wake() {
    const std::uint64_t one = 1;
    (void)!::write(wake_.get(), &one, sizeof one);
  }

  // ------------------------------------------------------------------ templates

  void StartTemplate(std::size_t index) {
    WarmTemplate& entry = templates_[index];
    const UniqueFd& filter = entry.spec.filter == TemplateSpec::Filter::kMachine
                                 ? machine_filter_fd_
                                 : program_filter_fd_;
    std::string variant;
    TemplateSpec spec;
    {
      std::lock_guard lock(mutex_);
      variant = entry.variant;
      spec = entry.Varied();
    }
    auto started = SpawnTemplate(spec, filter.get());
    std::lock_guard lock(mutex_);
    if (!started) {
      entry.said = started.error().message;
      FailTemplate(index);
      return;
    }
    entry.pid = started->pid;
    entry.control = std::move(started->control);
    entry.errors = std::move(started->errors);
    entry.said.clear();
    entry.ready = false;
    if (entry.stopped || entry.variant != variant) entry.End();  // while it was being started
    Wake();
  }

  void RestartOrStop(const ForkRequest& request) {
    std::lock_guard lock(mutex_);
    if (!IsThere(request)) return;
    const std::string variant(request.variant.data(),
                              ::strnlen(request.variant.data(), request.variant.size()));
    if (variant.find_first_not_of("0123456789abcdef") != std::string::npos) {
      return driver_->Refuse(request, EINVAL, "no variant of a template");
    }
    WarmTemplate& entry = templates_[request.template_index];
    if (request.kind == RequestKind::kRestart) entry.variant = variant;
    if (entry.pid > 0) FailTemplate(request.template_index);
    entry.stopped = request.kind == RequestKind::kStop;
    entry.wanted = !entry.stopped;
    entry.failures = 0;
    entry.restart_at = {};
    Wake();  // the reaper starts it
    driver_->Answer(request);
  }

  // With mutex_ held. The template is dead, never lived, or is to die.
  void FailTemplate(std::size_t index) {
    WarmTemplate& entry = templates_[index];
    entry.End();
    ++entry.failures;
    driver_->SayTemplateFailed(index, entry.LastWords());
    StatusMessage lost;
    lost.kind = StatusKind::kTemplateLost;
    for (auto& [id, cell] : cells_) {
      // A box stands, and what the template has forked into it goes on. That nobody will hear of
      // its end is told by its status socket, whose far end went with the template.
      if (cell.box) {
        cell.orphaned = true;
        orphans_.Expect(/*soon=*/false);
        continue;
      }
      if (cell.template_index != index) continue;
      (void)SendPacket(cell.status.get(), &lost, sizeof lost);
      cell.orphaned = true;
      KillCell(&cell);
    }
    entry.restart_at = std::chrono::steady_clock::now() +
                       std::chrono::milliseconds(100) * (1 << std::min(entry.failures, 6));
  }

  // ------------------------------------------------------------------ builder

  void Build(const ForkRequest& request) {
    switch (request.kind) {
      case RequestKind::kRun:
      case RequestKind::kBox:
        return BuildCell(request);
      case RequestKind::kJoin:
        return Join(request);
      case RequestKind::kFreeze:
      case RequestKind::kThaw:
        return FreezeOrThaw(request);
      case RequestKind::kRestart:
      case RequestKind::kStop:
        return RestartOrStop(request);
    }
    driver_->Refuse(request, EINVAL, "no such request");
  }

  // False when it has been answered that there is no such template.
  bool IsThere(const ForkRequest& request) {
    if (request.template_index < templates_.size()) return true;
    driver_->Refuse(request, EINVAL, "no such template");
    return false;
  }

  // With mutex_ held. False when the template cannot be forked now, which has been answered.
  bool IsReady(const ForkRequest& request) {
    if (!IsThere(request)) return false;
    WarmTemplate& entry = templates_[request.template_index];
    if (entry.ready) return true;
    if (entry.stopped) {
      driver_->Refuse(request, EAGAIN, "template was stopped");
      return false;
    }
    if (!entry.wanted) {
      entry.wanted = true;
      Wake();  // the reaper starts it
    }
    const bool may_come =
        (entry.spec.lazy || request.kind == RequestKind::kJoin) && entry.MayCome();
    driver_->Refuse(request, may_come ? EINPROGRESS : EAGAIN, "template not ready");
    return false;
  }

  void BuildCell(const ForkRequest& request) {
    std::uint32_t uid_index = 0;
    {
      std::lock_guard lock(mutex_);
      if (request.kind == RequestKind::kRun && !IsReady(request)) return;
      if (free_uids_.empty()) return driver_->Refuse(request, EAGAIN, "too many sandboxes");
      // First in, first out: the longer a uid rests, the less a late straggler could matter.
      uid_index = free_uids_.front();
      free_uids_.pop_front();
    }
    auto built = BuildWith(request, uid_index);
    if (built) return;
    {
      std::lock_guard lock(mutex_);
      free_uids_.push_back(uid_index);
    }
    driver_->Refuse(request, EIO, built.error().message);
  }

  // On an error nothing is left; the uid is the caller's to give back.
  Result<void> BuildWith(const ForkRequest& request, std::uint32_t uid_index) {
    const bool box = request.kind == RequestKind::kBox;
    auto cgroup =
        cgroups_.Create("c" + std::to_string(++cell_count_), {.memory_bytes = request.memory_bytes,
                                                              .pids = request.pids,
                                                              .cpu_millis = request.cpu_millis,
                                                              .box = box});
    if (!cgroup) return Fail(cgroup.error());
    UniqueFd net_namespace;
    {
      std::lock_guard lock(mutex_);
      net_namespace = net_namespaces_.Take();
    }
    auto cell = MakeCell({.uid = UidOf(uid_index),
                          .init_uid = config_.uid_base,
                          .disk_bytes = request.disk_bytes,
                          .privileged = config_.privileged,
                          .standing = box,
                          .net_namespace = net_namespace.get()});
    if (!cell) return Fail(cell.error());
    if (!net_namespace) net_namespace = OpenNetNamespace(cell->init_pid);
    LiveCell live;
    live.cell = std::move(*cell);
    live.cgroup = std::move(*cgroup);
    live.net_namespace = std::move(net_namespace);
    live.uid_index = uid_index;
    live.uid = UidOf(uid_index);
    live.disk_bytes = request.disk_bytes;
    live.template_index = request.template_index;
    live.pids = request.pids;
    live.box = box;
    auto settled = box ? OpenBox(request, &live) : ForkRun(request, &live);
    if (!settled) {
      ::syscall(SYS_pidfd_send_signal, live.cell.init_pidfd.get(), SIGKILL, nullptr, 0);
      ::waitpid(live.cell.init_pid, nullptr, 0);
      return settled;
    }
    Wake();
    return {};
  }

  // With `live` told of and among the cells on success.
  Result<void> ForkRun(const ForkRequest& request, LiveCell* live) {
    auto streams = MakeStreams(live->uid);
    if (!streams) return Fail(streams.error());
    std::lock_guard lock(mutex_);
    if (!SendFork(templates_[request.template_index], *live, *streams)) {
      return Fail(ErrorCode::kInternal, TemplateGone(request));
    }
    live->cgroup.procs.clear();
    live->status = std::move(streams->status.theirs);
    const std::array<int, kForkedFdCount> to_driver{
        streams->status.ours.get(),     streams->channel.ours.get(),
        streams->in.theirs.get(),       streams->out.ours.get(),
        streams->err.ours.get(),        live->cgroup.cpu_usage.get(),
        live->cgroup.memory_peak.get(), live->cgroup.memory_events.get()};
    Settle(request, live, to_driver);
    return {};
  }

  Result<void> OpenBox(const ForkRequest& request, LiveCell* live) {
    auto lease = MakeSocketPair(SOCK_SEQPACKET);
    if (!lease) return Fail(lease.error());
    live->status = std::move(lease->theirs);
    const CellCgroup& cgroup = live->cgroup;
    const std::array<int, kBoxFdCount> to_driver{
        lease->ours.get(), cgroup.cpu_usage.get(), cgroup.memory_peak.get(),
        cgroup.memory_events.get(), cgroup.memory_now.get()};
    std::lock_guard lock(mutex_);
    Settle(request, live, to_driver);
    return {};
  }

  // With mutex_ held: once the reaper may close the descriptors they must be on their way.
  void Settle(const ForkRequest& request, LiveCell* live, std::span<const int> to_driver) {
    driver_->Answer(request, to_driver, cell_count_);
    for (UniqueFd* fd : {&live->cgroup.cpu_usage, &live->cgroup.memory_peak,
                         &live->cgroup.memory_events, &live->cgroup.memory_now}) {
      fd->Reset();
    }
    cells_.emplace(cell_count_, std::move(*live));
  }

  std::string TemplateGone(const ForkRequest& request) const {
    return "template " + templates_[request.template_index].spec.name + " is gone";
  }

  // With mutex_ held. nullptr when there is no such box, which has been answered.
  LiveCell* FindBox(const ForkRequest& request) {
    const auto found = cells_.find(request.box);
    if (found != cells_.end() && found->second.box && !found->second.killed) return &found->second;
    driver_->Refuse(request, ESRCH, "the box has ended");
    return nullptr;
  }

  // Into what stands already: a few system calls, of which none waits.
  void Join(const ForkRequest& request) {
    std::lock_guard lock(mutex_);
    LiveCell* live = FindBox(request);
    if (live == nullptr) return;
    // The cgroup's limit is for those who fork inside; who is moved in only counts.
    if (live->cgroup.Processes() >= live->pids + std::uint64_t{kPidsToGetIn}) {
      return driver_->Refuse(request, EAGAIN, "too many processes in the box");
    }
    if (!IsReady(request)) return;
    auto streams = MakeStreams(live->uid);
    if (!streams) return driver_->Refuse(request, EIO, streams.error().message);
    if (!SendFork(templates_[request.template_index], *live, *streams)) {
      // The reaper will hear of its end and start another.
      return driver_->Refuse(request, EINPROGRESS, TemplateGone(request));
    }
    const std::array<int, kJoinedFdCount> to_driver{
        streams->status.ours.get(), streams->channel.ours.get(), streams->in.theirs.get(),
        streams->out.ours.get(), streams->err.ours.get()};
    driver_->Answer(request, to_driver);
  }

  void FreezeOrThaw(const ForkRequest& request) {
    std::lock_guard lock(mutex_);
    LiveCell* live = FindBox(request);
    if (live == nullptr) return;
    if (request.kind == RequestKind::kThaw) {
      auto thawed = live->cgroup.Thaw();
      if (!thawed) return driver_->Refuse(request, errno, thawed.error().message);
      live->frozen = false;
    } else {
      live->frozen = true;  // even if only half of it is
      auto frozen = live->cgroup.Freeze();
      if (!frozen) return driver_->Refuse(request, errno, frozen.error().message);
      if (!*frozen) return driver_->Refuse(request, EINPROGRESS, "freezing");
    }
    driver_->Answer(request);
  }

  [[nodiscard]] std::uint32_t UidOf(std::uint32_t uid_index) const {
    return config_.privileged ? config_.uid_base + uid_index : 0;
  }

  // ------------------------------------------------------------------ reaper

  void ReapLoop() {
    std::vector<pollfd> polled;
    std::vector<std::uint64_t> ids;
    for (;;) {
      polled.clear();
      ids.clear();
      int timeout = -1;
      {
        std::lock_guard lock(mutex_);
        if (stop_ && cells_.empty()) return;
        polled.push_back({wake_.get(), POLLIN, 0});
        const auto now = std::chrono::steady_clock::now();
        for (WarmTemplate& entry : templates_) {
          polled.push_back({entry.control.get(), POLLIN, 0});  // negative ones are skipped
          polled.push_back({entry.errors.get(), POLLIN, 0});
          if (entry.IsToStart()) {
            const auto left =
                std::chrono::duration_cast<std::chrono::milliseconds>(entry.restart_at - now);
            timeout = static_cast<int>(
                std::clamp<long>(left.count() + 1, 1, timeout < 0 ? 10000 : timeout));
          }
        }
        for (auto& [id, live] : cells_) {
          ids.push_back(id);
          polled.push_back({live.cell.init_pidfd.get(), POLLIN, 0});
          polled.push_back({live.killed ? -1 : live.status.get(), POLLIN, 0});
        }
        const bool removable = remains_.WaitFor(&polled);
        const int look_again = removable ? 20 : orphans_.LookAgain();
        if (look_again > 0) timeout = timeout < 0 ? look_again : std::min(timeout, look_again);
      }
      if (::poll(polled.data(), polled.size(), timeout) < 0 && errno != EINTR) return;
      if (polled[0].revents != 0) {
        std::uint64_t count = 0;
        (void)!::read(wake_.get(), &count, sizeof count);
      }
      std::lock_guard lock(mutex_);
      const std::size_t first_cell = 1 + 2 * templates_.size();
      for (std::size_t i = 0; i < ids.size(); ++i) {
        const auto found = cells_.find(ids[i]);
        if (found == cells_.end()) continue;
        if (polled[first_cell + 2 * i + 1].revents != 0) HearDriver(&found->second);
        if (polled[first_cell + 2 * i].revents != 0) Bury(found);
      }
      for (std::size_t i = 0; i < templates_.size(); ++i) {
        if (polled[2 + 2 * i].revents != 0) templates_[i].DrainErrors();
        if (polled[1 + 2 * i].revents != 0) HearTemplate(i);
      }
      orphans_.Bury(cells_, templates_);
      for (const std::uint32_t uid_index : remains_.Bury(/*all=*/stop_)) {
        free_uids_.push_back(uid_index);
      }
      if (!stop_) RestartTemplates();
    }
  }

  // With mutex_ held, as all below.
  void HearDriver(LiveCell* live) {
    StatusCommand command;
    const ssize_t n = RecvPacket(live->status.get(), &command, sizeof command, nullptr, nullptr);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    KillCell(live);  // asked to, or the driver let go of it
  }

  void KillCell(LiveCell* live) {
    live->Kill();
    if (live->orphaned) orphans_.Expect(/*soon=*/true);
  }

  // The init is dead, hence all of the cell is: its namespace waited for them.
  void Bury(std::map<std::uint64_t, LiveCell>::iterator found) {
    LiveCell live = std::move(found->second);
    cells_.erase(found);
    ::waitpid(live.cell.init_pid, nullptr, 0);
    if (live.box) {
      StatusMessage gone;
      gone.kind = StatusKind::kExited;
      (void)SendPacket(live.status.get(), &gone, sizeof gone);
    }
    net_namespaces_.GiveBack(std::move(live.net_namespace));
    remains_.Add(std::move(live.cgroup), std::move(live.status), live.uid_index);
  }

  void HearTemplate(std::size_t index) {
    WarmTemplate& entry = templates_[index];
    if (!entry.control) return;
    TemplateReady ready;
    const ssize_t n = RecvPacket(entry.control.get(), &ready, sizeof ready, nullptr, nullptr);
    if (n == sizeof ready && ready.magic == TemplateReady{}.magic) {
      entry.ready = true;
      entry.failures = 0;
      driver_->SayTemplateReady(index);
      return;
    }
    FailTemplate(index);
  }

  void RestartTemplates() {
    const auto now = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < templates_.size(); ++i) {
      WarmTemplate& entry = templates_[i];
      if (!entry.IsToStart() || entry.restart_at > now) continue;
      mutex_.unlock();  // StartTemplate takes it; nothing above depends on what changes meanwhile
      StartTemplate(i);
      mutex_.lock();
    }
  }

  void KillEverything() {
    std::lock_guard lock(mutex_);
    for (auto& [id, live] : cells_) KillCell(&live);
    for (WarmTemplate& entry : templates_) entry.failures = WarmTemplate::kMaxFailures;
  }

  DriverLine* const driver_;
  const ForkserverConfig& config_;
  CgroupTree cgroups_;  // builder makes, reaper removes: removal works on the cells' own parts
  UniqueFd wake_;
  const UniqueFd program_filter_fd_;
  const UniqueFd machine_filter_fd_;
  std::uint64_t cell_count_ = 0;  // builder only
  std::atomic<bool> stop_{false};

  std::mutex mutex_;  // guards all below
  std::vector<WarmTemplate> templates_;
  std::map<std::uint64_t, LiveCell> cells_;
  Remains remains_;
  NetNamespaces net_namespaces_;
  std::deque<std::uint32_t> free_uids_;
  Orphans orphans_;
};

}  // namespace

int RunForkserver(UniqueFd control, const ForkserverConfig& config) {
  DriverLine driver(std::move(control));
  const auto fail = [&](const std::string& why) {
    driver.SayFailed(why);
    return 1;
  };
  auto filter = CompileSeccompFilter();
  if (!filter) return fail(filter.error().message);
  auto machine_filter = CompileMachineFilter();
  if (!machine_filter) return fail(machine_filter.error().message);
  CgroupTree cgroups = CgroupTree::Open();  // by name, so before the host's tree is gone
  if (auto entered = EnterRootFs(config); !entered) return fail(entered.error().message);
  Forkserver server(&driver, config, std::move(cgroups), *filter, *machine_filter);
  return server.Run();
}

}  // namespace forkbox::sandbox
