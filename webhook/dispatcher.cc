#include "webhook/dispatcher.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "webhook/curl_sender.h"
#include "webhook/signature.h"
#include "webhook/url_check.h"

namespace forkbox::webhook {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kFirstStorePause{100};
constexpr milliseconds kMaxStorePause{5'000};
// Of what waits, longer bodies are not kept in memory but fetched again.
constexpr std::size_t kMaxWaitingBodyBytes = 64 << 10;

// Asking again may help, and soon.
bool IsPassing(const Error& error) {
  return error.code == ErrorCode::kUnavailable || error.code == ErrorCode::kDeadlineExceeded;
}

SendQueue::Limits LimitsOf(const DispatcherOptions& options) {
  SendQueue::Limits limits;
  limits.in_flight = options.max_in_flight;
  limits.in_flight_per_host = options.max_in_flight_per_host;
  limits.in_flight_per_owner = std::max<std::size_t>(1, options.max_in_flight / 2);
  return limits;
}

}  // namespace

Dispatcher::Dispatcher(DispatcherOptions options, store::DeliveryStore& deliveries,
                       store::WebhookSecretStore& secrets, store::ExecutionStore& executions,
                       Render render, AddressGuard guard, const Clock& clock, Log log)
    : Dispatcher(options, deliveries, secrets, executions, std::move(render), guard, clock,
                 std::move(log),
                 std::make_unique<CurlSender>(
                     CurlSender::Options{.deadline = options.attempt_deadline}, guard)) {}

Dispatcher::Dispatcher(DispatcherOptions options, store::DeliveryStore& deliveries,
                       store::WebhookSecretStore& secrets, store::ExecutionStore& executions,
                       Render render, AddressGuard guard, const Clock& clock, Log log,
                       std::unique_ptr<Sender> sender)
    : options_(std::move(options)),
      deliveries_(deliveries),
      secrets_(secrets),
      executions_(executions),
      render_(std::move(render)),
      guard_(std::move(guard)),
      clock_(clock),
      log_(std::move(log)),
      queue_(LimitsOf(options_)),
      sender_(std::move(sender)) {
  FORKBOX_CHECK(options_.claim_lifetime >= options_.attempt_deadline + options_.claim_margin);
}

Dispatcher::~Dispatcher() { Drain(steady_clock::now()); }

void Dispatcher::Start() {
  for (std::size_t i = 0; i < options_.threads; ++i) {
    threads_.emplace_back([this] { Work(); });
  }
}

void Dispatcher::Wake() {
  {
    const std::lock_guard lock(mutex_);
    woken_ = true;
  }
  changed_.notify_one();
}

void Dispatcher::Drain(Deadline deadline) {
  {
    std::unique_lock lock(mutex_);
    draining_ = true;
    changed_.notify_all();
    changed_.wait_until(lock, deadline, [this] { return threads_.empty() || IsIdle(); });
  }
  sender_->Abort();
  threads_.clear();
}

DispatcherStats Dispatcher::Stats() const {
  const std::lock_guard lock(mutex_);
  DispatcherStats stats = stats_;
  stats.in_flight = queue_.in_flight();
  stats.waiting = queue_.waiting();
  return stats;
}

void Dispatcher::Work() {
  while (const Job job = NextJob()) {
    job();
    {
      const std::lock_guard lock(mutex_);
      --busy_;
    }
    changed_.notify_all();
  }
}

Dispatcher::Job Dispatcher::NextJob() {
  std::unique_lock lock(mutex_);
  while (!draining_ || !IsIdle()) {
    const auto now = steady_clock::now();
    const bool paused = now < store_back_at_ && !draining_;
    if (draining_) {
      while (auto entry = queue_.Remove()) ended_.push_back({std::move(entry->delivery), {}});
    }
    if (Job job = paused ? nullptr : TakeJob(now)) {
      ++busy_;
      return job;
    }
    if (paused) {
      changed_.wait_until(lock, store_back_at_);
    } else if (MayClaim()) {
      changed_.wait_until(lock, next_claim_);
    } else {
      changed_.wait(lock);
    }
  }
  return nullptr;
}

Dispatcher::Job Dispatcher::TakeJob(steady_clock::time_point now) {
  if (!ended_.empty()) {
    Job job = [this, ended = std::move(ended_.front())]() mutable { Settle(std::move(ended)); };
    ended_.pop_front();
    return job;
  }
  const SteadyTime needed_until = clock_.Now() + options_.attempt_deadline + options_.claim_margin;
  if (auto entry = queue_.Next(needed_until)) {
    return [this, next = std::move(*entry)]() mutable { Begin(std::move(next)); };
  }
  if (MayClaim() && (woken_ || now >= next_claim_)) {
    woken_ = false;
    claiming_ = true;
    return [this] { Claim(); };
  }
  return nullptr;
}

bool Dispatcher::MayClaim() const { return !draining_ && !claiming_ && queue_.Room() > 0; }

bool Dispatcher::IsIdle() const {
  return busy_ == 0 && queue_.in_flight() == 0 && queue_.waiting() == 0 && ended_.empty();
}

void Dispatcher::Claim() {
  std::size_t limit = options_.claim_batch;
  {
    const std::lock_guard lock(mutex_);
    limit = std::min(limit, queue_.Room());
  }
  const SteadyTime claimed_at = clock_.Now();
  const std::int64_t now = clock_.UnixMillis();
  auto due =
      deliveries_.ClaimDue(options_.sender_id, now, now + options_.claim_lifetime.count(), limit);
  Heard(due ? std::nullopt : std::optional(due.error()));

  const std::lock_guard lock(mutex_);
  claiming_ = false;
  // As many as asked for: there are more.
  const bool full = due && due->size() == limit;
  next_claim_ = steady_clock::now() + (full ? milliseconds(0) : options_.poll_interval);
  if (!due) return;
  for (store::Delivery& delivery : *due) {
    if (delivery.body.size() > kMaxWaitingBodyBytes) delivery.body.clear();
    queue_.Add(std::move(delivery), claimed_at + options_.claim_lifetime);
  }
}

void Dispatcher::Begin(SendQueue::Entry entry) {
  const std::int64_t started_unix_ms = clock_.UnixMillis();
  Result<Request> request = Prepare(entry.delivery, started_unix_ms);
  const SteadyTime started_at = clock_.Now();
  if (!request && IsPassing(request.error())) {
    Heard(request.error());
    const std::lock_guard lock(mutex_);
    queue_.Done(entry, milliseconds(0));
    queue_.Add(std::move(entry.delivery), entry.claim_ends);
    return;
  }
  if (!request) {
    const Error& error = request.error();
    const bool for_ever =
        error.code == ErrorCode::kInvalidArgument || error.code == ErrorCode::kNotFound;
    OnAnswer(entry,
             {.end = for_ever ? Answer::End::kImpossible : Answer::End::kRefused,
              .error = error.message},
             started_unix_ms, started_at);
    return;
  }
  // The store may have taken its time; the claim must still outlast the attempt.
  if (started_at + options_.attempt_deadline > entry.claim_ends) {
    OnAnswer(entry, {.end = Answer::End::kAborted}, started_unix_ms, started_at);
    return;
  }
  sender_->Send(std::move(*request), [this, entry = std::move(entry), started_unix_ms,
                                      started_at](const Answer& answer) {
    OnAnswer(entry, answer, started_unix_ms, started_at);
  });
}

Result<Request> Dispatcher::Prepare(store::Delivery& delivery, std::int64_t now_unix_ms) {
  // What is allowed may have changed since it was accepted.
  if (auto allowed = CheckWebhookUrl(delivery.url, guard_); !allowed) return Fail(allowed.error());
  const auto secrets = secrets_.ActiveSecrets(delivery.owner, now_unix_ms);
  if (!secrets) return Unreadable(delivery, "the signing secret cannot be read", secrets.error());
  auto body = TakeBody(delivery);
  if (!body) return Fail(std::move(body).error());

  const std::int64_t seconds = now_unix_ms / 1'000;
  std::string signatures;
  for (const store::WebhookSecret& secret : *secrets) {
    const auto signature = Sign(secret.secret, delivery.id.str(), seconds, *body);
    if (!signature) {
      return Unreadable(delivery, "the signing secret cannot be read",
                        {ErrorCode::kInternal, signature.error().message});
    }
    signatures.append(signatures.empty() ? "" : " ").append(*signature);
  }
  Request request{.url = delivery.url,
                  .headers = {"content-type: application/json", "webhook-id: " + delivery.id.str(),
                              "webhook-timestamp: " + std::to_string(seconds)},
                  .body = std::move(*body)};
  if (!signatures.empty()) request.headers.push_back("webhook-signature: " + signatures);
  return request;
}

Result<std::string> Dispatcher::TakeBody(store::Delivery& delivery) {
  if (!delivery.body.empty()) return std::move(delivery.body);
  const auto record = executions_.GetHead(delivery.execution_id, std::nullopt);
  if (!record) {
    const bool gone = record.error().code == ErrorCode::kNotFound;
    return Unreadable(delivery, gone ? "the execution is gone" : "the result cannot be read",
                      record.error());
  }
  const auto rendered = render_(*record);
  if (!rendered) return Unreadable(delivery, "the result cannot be worded", rendered.error());
  auto body = deliveries_.FixBody(delivery.id, *rendered);
  if (!body) return Unreadable(delivery, "the result cannot be kept", body.error());
  return std::move(*body);
}

tl::unexpected<Error> Dispatcher::Unreadable(const store::Delivery& delivery, const char* what,
                                             const Error& why) const {
  if (!IsPassing(why)) {
    log_.Error("webhook.unreadable", {{"delivery_id", delivery.id.str()},
                                      {"execution_id", delivery.execution_id.str()},
                                      {"what", what},
                                      {"error", why.message}});
  }
  return Fail(why.code, IsPassing(why) ? why.message : what);
}

void Dispatcher::OnAnswer(const SendQueue::Entry& entry, const Answer& answer,
                          std::int64_t started_unix_ms, SteadyTime started_at) {
  const auto duration = duration_cast<milliseconds>(clock_.Now() - started_at);
  {
    const std::lock_guard lock(mutex_);
    queue_.Done(entry, duration);
    Ended& ended = ended_.emplace_back();
    ended.delivery = entry.delivery;
    if (answer.end != Answer::End::kAborted) {
      const int number = entry.delivery.attempts + 1;
      const double chance = std::uniform_real_distribution<double>(0, 1)(chance_);
      auto verdict = options_.retry.Judge(number, answer, clock_.UnixMillis(), chance);
      ended.result = {.attempt = {.number = number,
                                  .started_unix_ms = started_unix_ms,
                                  .duration_ms = duration.count(),
                                  .status = answer.status,
                                  .error = std::move(verdict.error)},
                      .state = verdict.state,
                      .next_attempt_unix_ms = verdict.next_attempt_unix_ms};
    }
  }
  changed_.notify_all();
}

void Dispatcher::Settle(Ended ended) {
  const store::Delivery& delivery = ended.delivery;
  if (!ended.result) {
    // If this fails the claim ends by itself.
    static_cast<void>(deliveries_.ReleaseDelivery(delivery.id, options_.sender_id));
    return;
  }
  const store::AttemptResult& result = *ended.result;
  const Log log = log_.With({{"delivery_id", delivery.id.str()},
                             {"execution_id", delivery.execution_id.str()},
                             {"attempt", result.attempt.number},
                             {"host", WebhookHost(delivery.url)},
                             {"status", result.attempt.status},
                             {"duration_ms", result.attempt.duration_ms}});
  const auto recorded = deliveries_.RecordAttempt(delivery.id, options_.sender_id, result);
  if (!recorded) {
    const Error& error = recorded.error();
    {
      std::unique_lock lock(mutex_);
      if (IsPassing(error) && !draining_) {
        ended_.push_front(std::move(ended));
        lock.unlock();
        Heard(error);
        return;
      }
    }
    // It will be sent again when the claim has ended, or somebody else has done that already.
    log.Error("webhook.unrecorded", {{"error", error.message}});
    return;
  }
  Heard(std::nullopt);
  const bool delivered = result.state == store::DeliveryState::kDelivered;
  const bool dead = result.state == store::DeliveryState::kDead;
  {
    const std::lock_guard lock(mutex_);
    stats_.delivered += delivered ? 1 : 0;
    stats_.dead += dead ? 1 : 0;
    stats_.failed_attempts += delivered ? 0 : 1;
  }
  if (delivered) {
    log.Info("webhook.delivered");
  } else if (dead) {
    log.Warn("webhook.dead", {{"error", result.attempt.error}});
  } else {
    log.Info("webhook.attempt_failed", {{"error", result.attempt.error}});
  }
}

void Dispatcher::Heard(const std::optional<Error>& error) {
  const auto now = steady_clock::now();
  const std::lock_guard lock(mutex_);
  if (now < store_back_at_) return;  // asked before the last failure was known
  if (!error) {
    if (store_pause_ != milliseconds(0)) log_.Info("webhook.store_back");
    store_pause_ = milliseconds(0);
    return;
  }
  if (store_pause_ == milliseconds(0)) {
    log_.Warn("webhook.store_away", {{"error", error->message}});
  }
  store_pause_ = std::clamp(2 * store_pause_, kFirstStorePause, kMaxStorePause);
  store_back_at_ = now + store_pause_;
}

}  // namespace forkbox::webhook
