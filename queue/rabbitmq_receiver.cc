#include "queue/rabbitmq_receiver.h"

#include <algorithm>
#include <future>
#include <limits>
#include <utility>

#include "base/check.h"
#include "queue/message_json.h"

namespace forkbox::queue {
namespace {

using schema::Priority;
using std::chrono::steady_clock;

constexpr AmqpChannel kLaneChannel = 1;  // consumers of the lanes, and questions about their depth
constexpr AmqpChannel kOwnChannel = 2;   // replies and cancels: nothing to acknowledge
constexpr AmqpChannel kGetChannel = 3;

constexpr char kReplyConsumer[] = "reply";
constexpr char kCancelConsumer[] = "cancel";

constexpr std::chrono::seconds kDepthInterval{1};
// A broker that does not answer a question for so long is not there.
constexpr std::chrono::seconds kAnswerTimeout{10};
// Of replies this process does not fetch.
constexpr std::int32_t kMaxReplyQueueBytes = 256 << 20;

static_assert(kMaxMessageBytes <= AmqpConnection::kMaxBodyBytes);
static_assert(kMaxReplyBytes <= AmqpConnection::kMaxBodyBytes);

std::string ConsumerOf(Priority lane) { return std::string(ToString(lane)); }

// When a question is given up.
Result<Deadline> AnswerDeadline(SteadyTime asked_at, SteadyTime now) {
  if (now < asked_at + kAnswerTimeout) return asked_at + kAnswerTimeout;
  return Fail(ErrorCode::kUnavailable, "the broker does not answer");
}

}  // namespace

class RabbitMqReceiver::RabbitMqLease final : public Lease {
 public:
  RabbitMqLease(RabbitMqReceiver& receiver, Delivery delivery)
      : receiver_(receiver), delivery_(std::move(delivery)) {}
  ~RabbitMqLease() override {
    if (!acked_) (void)receiver_.EndLease(delivery_, /*acked=*/false);
  }

  [[nodiscard]] const Message& message() const override { return delivery_.message; }
  [[nodiscard]] bool redelivered() const override { return delivery_.redelivered; }
  Result<void> Ack() override {
    if (!acked_) acked_ = receiver_.EndLease(delivery_, /*acked=*/true);
    return *acked_;
  }

 private:
  RabbitMqReceiver& receiver_;
  const Delivery delivery_;
  std::optional<Result<void>> acked_;
};

RabbitMqReceiver::RabbitMqReceiver(const AmqpAddress& address, RabbitMqTopology topology,
                                   Slots slots, const Desks& desks, const Log& log)
    : topology_(std::move(topology)),
      slots_(slots),
      desks_(desks),
      log_(log),
      interactive_{.priority = Priority::kInteractive,
                   .queue = topology_.Lane(Priority::kInteractive)},
      background_{.priority = Priority::kBackground,
                  .queue = topology_.Lane(Priority::kBackground)},
      link_(address, "receiver", *this, log) {
  link_.Start();
}

RabbitMqReceiver::~RabbitMqReceiver() {
  Stop();
  FORKBOX_CHECK(interactive_.leased == 0 && background_.leased == 0);
  FORKBOX_CHECK(next_line_.empty());
}

RabbitMqReceiver::Lane& RabbitMqReceiver::LaneOf(Priority priority) {
  return priority == Priority::kInteractive ? interactive_ : background_;
}

Error RabbitMqReceiver::NotConnected() const {
  const Result<void> status = link_.Status();
  return status ? Error{ErrorCode::kUnavailable, "not connected"} : status.error();
}

// ---- any thread -----------------------------------------------------------------------------

Result<std::unique_ptr<Lease>> RabbitMqReceiver::Next(Deadline deadline, bool interactive_only) {
  std::unique_lock lock(mutex_);
  // Looks once more after the deadline: a sleeper that was woken must not leave without looking.
  for (bool woken = true; woken;) {
    if (closed_) break;
    std::unique_ptr<Lease> lease = Take(interactive_);
    if (lease == nullptr && !interactive_only) lease = Take(background_);
    if (lease != nullptr) {
      // It may not be the one that this thread was woken for.
      if (!interactive_.delivered.empty()) next_line_.WakeOne(Priority::kInteractive);
      if (!background_.delivered.empty()) next_line_.WakeOne(Priority::kBackground);
      return lease;
    }
    if (unsettled_ >= limit_) link_.Wake();  // see WantedLimit(); this thread sleeps by then
    woken = next_line_.Sleep(lock, deadline, interactive_only);
  }
  return std::unique_ptr<Lease>();
}

std::unique_ptr<Lease> RabbitMqReceiver::Take(Lane& lane) {
  if (lane.delivered.empty()) return nullptr;
  auto lease = std::make_unique<RabbitMqLease>(*this, std::move(lane.delivered.front()));
  lane.delivered.pop_front();
  ++lane.leased;
  return lease;
}

void RabbitMqReceiver::GiveBack(Lane& lane) {
  for (const Delivery& delivery : std::exchange(lane.delivered, {})) {
    settlements_.push_back({.tag = delivery.tag, .acked = false});
  }
}

Result<void> RabbitMqReceiver::EndLease(const Delivery& delivery, bool acked) {
  {
    const std::lock_guard lock(mutex_);
    Lane& lane = LaneOf(delivery.message.lane);
    --lane.leased;
    if (!up_ || delivery.connection != connection_) {
      return Fail(ErrorCode::kUnavailable, "the message came by a connection that is gone");
    }
    settlements_.push_back({.tag = delivery.tag, .acked = acked});
    if (!acked) {
      GiveBack(lane);  // those behind it, which come again behind it
    }
  }
  link_.Wake();
  return {};
}

Depth RabbitMqReceiver::DepthOf(const Lane& lane) const {
  return {.waiting = lane.waiting, .leased = lane.leased, .limit = topology_.Limit(lane.priority)};
}

Result<Depth> RabbitMqReceiver::GetDepth(Priority priority) {
  const std::lock_guard lock(mutex_);
  if (!up_) return Fail(NotConnected());
  return DepthOf(LaneOf(priority));
}

void RabbitMqReceiver::FreshDepth(Priority priority, std::function<void(Result<Depth>)> done) {
  {
    const std::lock_guard lock(mutex_);
    if (up_) LaneOf(priority).depth.wanted.push_back(std::exchange(done, nullptr));
  }
  if (done) return done(Fail(NotConnected()));
  link_.Wake();
}

Result<std::optional<std::int64_t>> RabbitMqReceiver::OldestDispatch(Priority priority) {
  using Answer = Result<std::optional<std::int64_t>>;
  auto answer = std::make_shared<std::promise<Answer>>();  // shared: we may have stopped waiting
  std::future<Answer> answered = answer->get_future();
  {
    const std::lock_guard lock(mutex_);
    if (!up_) return Fail(NotConnected());
    LaneOf(priority).oldest.wanted.push_back(
        [answer](Answer oldest) { answer->set_value(std::move(oldest)); });
  }
  link_.Wake();
  if (answered.wait_for(Broker::kPublishTimeout) != std::future_status::ready) {
    return Fail(ErrorCode::kDeadlineExceeded, "the broker did not answer");
  }
  return answered.get();
}

bool RabbitMqReceiver::IsClosed() {
  const std::lock_guard lock(mutex_);
  return closed_;
}

void RabbitMqReceiver::Close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    next_line_.WakeAll();
  }
  link_.Wake();
}

// ---- the link's thread ----------------------------------------------------------------------

Result<void> RabbitMqReceiver::SetUp(AmqpConnection& connection) {
  for (const AmqpChannel channel : {kLaneChannel, kOwnChannel, kGetChannel}) {
    if (auto opened = connection.OpenChannel(channel); !opened) return opened;
  }
  if (auto declared = topology_.Declare(connection, kOwnChannel, log_); !declared) return declared;

  // Exclusive: were one left over from a connection that the broker still believes in, it would
  // eat half of what comes. Then this fails, and is tried again until that one has died.
  const std::pair<AmqpQueue, const char*> own[] = {
      {{.name = topology_.ReplyQueue(),
        .exclusive = true,
        .arguments = {{"x-max-length-bytes", kMaxReplyQueueBytes}}},
       kReplyConsumer},
      {{.name = topology_.CancelQueue(), .exclusive = true}, kCancelConsumer}};
  for (const auto& [queue, consumer] : own) {
    if (auto declared = connection.DeclareQueue(kOwnChannel, queue); !declared) {
      return Fail(declared.error());
    }
    if (auto consumes = connection.Consume(kOwnChannel, queue.name, consumer, /*no_ack=*/true);
        !consumes) {
      return consumes;
    }
  }
  if (auto bound =
          connection.Bind(kOwnChannel, topology_.CancelQueue(), topology_.CancelExchange());
      !bound) {
    return bound;
  }

  std::uint64_t waiting[2] = {};
  for (const Priority priority : kLanes) {
    const AmqpQueue queue{.name = topology_.Lane(priority)};
    const auto ready = connection.DeclareQueue(kLaneChannel, queue, /*passive=*/true);
    if (!ready) return Fail(ready.error());
    waiting[priority == Priority::kInteractive ? 0 : 1] = *ready;
  }
  bool closed = false;
  {
    const std::lock_guard lock(mutex_);
    interactive_.waiting = waiting[0];
    background_.waiting = waiting[1];
    ++connection_;
    up_ = true;
    unsettled_ = 0;
    limit_ = slots_.all;
    closed = closed_;
  }
  return closed ? Result<void>() : StartConsuming(connection);
}

// The order matters: a limit for consumers yet to come takes that of the channel away.
Result<void> RabbitMqReceiver::StartConsuming(AmqpConnection& connection) {
  if (slots_.all == 0) return {};
  consuming_ = true;
  const auto limit = [&](std::uint16_t count, bool whole_channel) {
    return connection.LimitUnacked(kLaneChannel, count, whole_channel);
  };
  const auto consume = [&](const Lane& lane) {
    return connection.Consume(kLaneChannel, lane.queue, ConsumerOf(lane.priority),
                              /*no_ack=*/false);
  };
  if (slots_.background != 0) {
    if (auto done = limit(slots_.background, /*whole_channel=*/false); !done) return done;
    if (auto done = consume(background_); !done) return done;
    if (auto done = limit(0, /*whole_channel=*/false); !done) return done;  // none
  }
  if (auto done = limit(slots_.all, /*whole_channel=*/true); !done) return done;
  return consume(interactive_);
}

// What comes until the broker has heard of it goes back, too; see OnMessage().
Result<void> RabbitMqReceiver::StopConsuming(AmqpConnection& connection) {
  consuming_ = false;
  for (Lane* lane : {&interactive_, &background_}) {
    if (auto sent = connection.CancelConsumer(kLaneChannel, ConsumerOf(lane->priority)); !sent) {
      return sent;
    }
    const std::lock_guard lock(mutex_);
    GiveBack(*lane);
  }
  return {};
}

template <class T>
void RabbitMqReceiver::TakeWanted(Question<T>& question) {
  const std::lock_guard lock(mutex_);
  question.asked.swap(question.wanted);
}

template <class T>
void RabbitMqReceiver::Answer(Question<T>& question, const Result<T>& answer) {
  question.asked_at.reset();
  for (const auto& callback : std::exchange(question.asked, {})) callback(answer);
}

// A thread that finds every message leased and waits is free: one of the leases has ended but for
// its Ack(). With each of those that ends, the limit goes down again before the broker can send
// another message, for which no slot would be free.
std::size_t RabbitMqReceiver::WantedLimit() const {
  const std::size_t wanted = std::clamp<std::size_t>(unsettled_ + next_line_.asleep(), slots_.all,
                                                     std::numeric_limits<std::uint16_t>::max());
  return unsettled_ < limit_ ? std::min(wanted, limit_) : wanted;
}

Result<void> RabbitMqReceiver::Settle(AmqpConnection& connection) {
  std::vector<Settlement> settlements;
  std::optional<std::size_t> new_limit;
  {
    const std::lock_guard lock(mutex_);
    settlements.swap(settlements_);
    unsettled_ -= settlements.size();
    if (consuming_ && WantedLimit() != limit_) new_limit = limit_ = WantedLimit();
  }
  if (new_limit) {
    if (auto sent = connection.ChangeLimit(kLaneChannel, static_cast<std::uint16_t>(*new_limit));
        !sent) {
      return sent;
    }
  }
  for (const Settlement& one : settlements) {
    const Result<void> sent = one.acked
                                  ? connection.Ack(kLaneChannel, one.tag)
                                  : connection.Reject(kLaneChannel, one.tag, /*requeue=*/true);
    if (!sent) return sent;
  }
  return {};
}

Result<AmqpLinkHandler::Turn> RabbitMqReceiver::Work(AmqpConnection* connection) {
  Turn turn;
  if (connection == nullptr) return turn;  // OnLost() has seen to everything
  if (consuming_ && IsClosed()) {
    if (auto stopped = StopConsuming(*connection); !stopped) return Fail(stopped.error());
  }
  if (auto settled = Settle(*connection); !settled) return Fail(settled.error());
  const SteadyTime now = steady_clock::now();
  for (Lane* lane : {&interactive_, &background_}) {
    for (const auto ask : {&RabbitMqReceiver::AskDepth, &RabbitMqReceiver::AskOldest}) {
      const Result<Deadline> next = (this->*ask)(*connection, *lane, now);
      if (!next) return Fail(next.error());
      turn.next = std::min(turn.next, *next);
    }
  }
  return turn;
}

// After the settlements, and on their channel: whoever gave a lease back finds it counted.
Result<Deadline> RabbitMqReceiver::AskDepth(AmqpConnection& connection, Lane& lane,
                                            SteadyTime now) {
  auto& question = lane.depth;
  if (!question.asked_at) {
    TakeWanted(question);
    if (question.asked.empty() && now < lane.refresh_at) return lane.refresh_at;
    if (auto sent = connection.AskDepth(kLaneChannel, lane.queue); !sent) return Fail(sent.error());
    question.asked_at = now;
    lane.refresh_at = now + kDepthInterval;
  }
  return AnswerDeadline(*question.asked_at, now);
}

Result<Deadline> RabbitMqReceiver::AskOldest(AmqpConnection& connection, Lane& lane,
                                             SteadyTime now) {
  auto& question = lane.oldest;
  if (!question.asked_at) {
    TakeWanted(question);
    if (question.asked.empty()) return Deadline::max();
    if (auto sent = connection.Get(kGetChannel, lane.queue); !sent) return Fail(sent.error());
    question.asked_at = now;
    gets_.push_back(&lane);
  }
  return AnswerDeadline(*question.asked_at, now);
}

Result<void> RabbitMqReceiver::OnEvent(AmqpConnection& connection, AmqpEvent event) {
  if (auto* const delivery = std::get_if<AmqpDelivery>(&event)) {
    for (Lane* lane : {&interactive_, &background_}) {
      if (delivery->consumer == ConsumerOf(lane->priority)) {
        return OnMessage(connection, *lane, *delivery);
      }
    }
    if (delivery->consumer.empty()) return OnGot(connection, *delivery);
    if (delivery->consumer == kReplyConsumer) OnReply(*delivery);
    if (delivery->consumer == kCancelConsumer) OnBroadcast(*delivery);
  } else if (std::holds_alternative<AmqpGetEmpty>(event)) {
    OnOldest(std::nullopt);
  } else if (const auto* depth = std::get_if<AmqpQueueDepth>(&event)) {
    return OnDepth(connection, *depth);
  }
  return {};
}

Result<std::optional<Message>> RabbitMqReceiver::Accept(AmqpConnection& connection,
                                                        AmqpChannel channel, const Lane& lane,
                                                        const AmqpDelivery& delivery) {
  Result<Message> message = Fail(ErrorCode::kInvalidArgument, "too large");
  if (delivery.body) message = DecodeMessage(*delivery.body, lane.priority);
  if (message) return std::optional<Message>(std::move(*message));
  ++rejected_;
  log_.Warn("broker.message_rejected", {{"queue", lane.queue}, {"error", message.error().message}});
  // Not requeued, so the broker puts it into the dead-letter queue.
  if (auto sent = connection.Reject(channel, delivery.tag, /*requeue=*/false); !sent) {
    return Fail(sent.error());
  }
  return std::optional<Message>();
}

Result<void> RabbitMqReceiver::OnMessage(AmqpConnection& connection, Lane& lane,
                                         const AmqpDelivery& delivery) {
  Result<std::optional<Message>> message = Accept(connection, kLaneChannel, lane, delivery);
  if (!message) return Fail(message.error());
  if (!*message) return {};
  {
    const std::lock_guard lock(mutex_);
    if (!closed_) {
      ++unsettled_;
      lane.delivered.push_back({.message = std::move(**message),
                                .redelivered = delivery.redelivered,
                                .tag = delivery.tag,
                                .connection = connection_});
      next_line_.WakeOne(lane.priority);
      return {};
    }
  }
  return connection.Reject(kLaneChannel, delivery.tag, /*requeue=*/true);
}

Result<void> RabbitMqReceiver::OnGot(AmqpConnection& connection, const AmqpDelivery& delivery) {
  FORKBOX_CHECK(!gets_.empty());
  Lane& lane = *gets_.front();
  const Result<std::optional<Message>> message = Accept(connection, kGetChannel, lane, delivery);
  if (!message) return Fail(message.error());
  if (!*message) {  // the next one, then
    gets_.pop_front();
    gets_.push_back(&lane);
    return connection.Get(kGetChannel, lane.queue);
  }
  if (auto sent = connection.Reject(kGetChannel, delivery.tag, /*requeue=*/true); !sent) {
    return sent;
  }
  OnOldest((*message)->dispatched_unix_ms);
  return {};
}

// `at_head`: of what is in the queue. What came here and is not leased was before that.
void RabbitMqReceiver::OnOldest(std::optional<std::int64_t> at_head) {
  FORKBOX_CHECK(!gets_.empty());
  Lane& lane = *gets_.front();
  gets_.pop_front();
  {
    const std::lock_guard lock(mutex_);
    for (const Delivery& one : lane.delivered) {
      at_head = std::min(at_head.value_or(one.message.dispatched_unix_ms),
                         one.message.dispatched_unix_ms);
    }
  }
  Answer(lane.oldest, Result<std::optional<std::int64_t>>(at_head));
}

// The broker counts what is in the queue. A message may have left it for here just before and come
// just after the answer: whoever consumes asks a second time, and by that answer it has come.
Result<void> RabbitMqReceiver::OnDepth(AmqpConnection& connection, const AmqpQueueDepth& depth) {
  for (Lane* lane : {&interactive_, &background_}) {
    if (lane->queue != depth.queue) continue;
    if (consuming_ && !std::exchange(lane->depth_asked_again, true)) {
      return connection.AskDepth(kLaneChannel, lane->queue);
    }
    lane->depth_asked_again = false;
    Depth now;
    {
      const std::lock_guard lock(mutex_);
      lane->waiting = depth.ready + lane->delivered.size();
      now = DepthOf(*lane);
    }
    Answer(lane->depth, Result<Depth>(now));
  }
  return {};
}

void RabbitMqReceiver::OnReply(const AmqpDelivery& delivery) {
  Result<ReplyOrProgress> news = Fail(ErrorCode::kInvalidArgument, "too large");
  if (delivery.body) news = DecodeReplyOrProgress(*delivery.body);
  if (!news) return log_.Warn("broker.reply_rejected", {{"error", news.error().message}});
  if (auto* progress = std::get_if<Progress>(&*news)) {
    desks_.progress.Deliver(std::move(*progress));
  } else {
    desks_.replies.Deliver(std::get<Reply>(std::move(*news)));
  }
}

// The id of an execution to cancel, or a Watch.
void RabbitMqReceiver::OnBroadcast(const AmqpDelivery& delivery) {
  if (delivery.body && IsExecutionId(*delivery.body)) {
    return desks_.cancels.Announce(schema::ExecutionId(*delivery.body));
  }
  Result<Watch> watch = Fail(ErrorCode::kInvalidArgument, "too large");
  if (delivery.body) watch = DecodeWatch(*delivery.body);
  if (!watch) return log_.Warn("broker.broadcast_rejected", {{"error", watch.error().message}});
  desks_.watches.Announce(*watch);
}

void RabbitMqReceiver::OnLost(const Error& why) {
  consuming_ = false;
  gets_.clear();
  {
    const std::lock_guard lock(mutex_);
    up_ = false;
    settlements_.clear();
    for (Lane* lane : {&interactive_, &background_}) lane->delivered.clear();
  }
  const tl::unexpected<Error> gone = Fail(ErrorCode::kUnavailable, why.message);
  for (Lane* lane : {&interactive_, &background_}) {
    // Who was asked for, and who would have been next.
    for (int i = 0; i < 2; ++i) {
      Answer(lane->depth, Result<Depth>(gone));
      Answer(lane->oldest, Result<std::optional<std::int64_t>>(gone));
      TakeWanted(lane->depth);
      TakeWanted(lane->oldest);
    }
    lane->refresh_at = SteadyTime::min();
    lane->depth_asked_again = false;
  }
}

}  // namespace forkbox::queue
