#include "queue/rabbitmq_sender.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <utility>

#include "queue/message_json.h"

namespace forkbox::queue {
namespace {

using schema::Priority;
using std::chrono::steady_clock;

constexpr AmqpChannel kLaneChannel = 1;   // with confirms
constexpr AmqpChannel kOtherChannel = 2;  // without, as the next
constexpr AmqpChannel kProgressChannel = 3;

// A reconnect is most often quicker than this, and worth waiting for.
constexpr std::chrono::seconds kGrace{1};

// Written and not confirmed: what a broker in trouble may have of us on its way.
constexpr std::size_t kMaxUnconfirmedBytes = 1U << 20;
constexpr std::size_t kMaxLaneBytes = 16U << 20;
constexpr std::size_t kMaxOtherBytes = 64U << 20;
// Whoever watches notices what was dropped, and asks for it again.
constexpr std::size_t kMaxProgressBytes = 16U << 20;
constexpr std::size_t kMaxAddressBytes = 255;  // of a routing key

constexpr char kBlocked[] = "the broker is blocked (memory or disk alarm)";

std::size_t Cost(const PendingPublish& publish) {
  return publish.publication.body.size() + sizeof(PendingPublish);
}

// When the first is to be given up: never, once a part of it has been written, since nothing else
// can go out on its channel before the rest.
Deadline FirstDeadline(const std::deque<PendingPublish>& queue) {
  const bool waits = !queue.empty() && !queue.front().publication.written;
  return waits ? queue.front().deadline : Deadline::max();
}

Error NobodyKnows() { return {ErrorCode::kDeadlineExceeded, "the broker did not confirm in time"}; }

}  // namespace

RabbitMqSender::RabbitMqSender(const AmqpAddress& address, RabbitMqTopology topology,
                               const Log& log)
    : topology_(std::move(topology)),
      log_(log),
      lanes_{.max_bytes = kMaxLaneBytes},
      others_{.max_bytes = kMaxOtherBytes},
      progress_{.max_bytes = kMaxProgressBytes},
      link_(address, "sender", *this, log) {
  link_.Start();
}

RabbitMqSender::~RabbitMqSender() { Stop(); }

void RabbitMqSender::Stop() {
  Close();
  link_.Stop();
  TakeInbox();
  for (PendingPublish& publish : std::exchange(lanes_.waiting, {})) {
    Error error{ErrorCode::kUnavailable, "the queue is closed"};
    if (publish.maybe_taken) error = NobodyKnows();
    Finish(lanes_, std::move(publish), Fail(std::move(error)));
  }
}

// ---- any thread -----------------------------------------------------------------------------

Result<void> RabbitMqSender::Status() const {
  if (Result<void> up = link_.Status(); !up) return up;
  if (blocked_) return Fail(ErrorCode::kUnavailable, kBlocked);
  return {};
}

Result<void> RabbitMqSender::MayPublish() const {
  if (closed_) return Fail(ErrorCode::kUnavailable, "the queue is closed");
  if (blocked_) return Fail(ErrorCode::kUnavailable, kBlocked);
  return link_.StatusAfter(kGrace);
}

void RabbitMqSender::Publish(const Message& message, Broker::Done done) {
  if (Result<void> may = MayPublish(); !may) return done(std::move(may));
  Result<std::string> body = EncodeMessage(message);
  if (!body) return done(Fail(body.error()));
  PendingPublish publish{.publication = {.channel = kLaneChannel,
                                         .routing_key = topology_.Lane(message.lane),
                                         .body = std::move(*body),
                                         // An interactive one is waited for by whoever wrote its
                                         // row: a second disk on the way would only take time.
                                         .persistent = message.lane == Priority::kBackground,
                                         .mandatory = true},
                         .done = std::move(done),
                         .deadline = steady_clock::now() + Broker::kPublishTimeout};
  if (!Enqueue(lanes_, publish)) {
    publish.done(Fail(ErrorCode::kUnavailable, "the broker does not keep up"));
  }
}

void RabbitMqSender::SendReply(const Reply& reply) {
  if (!reply.to.starts_with(topology_.ReplyPrefix()) || reply.to.size() > kMaxAddressBytes) return;
  Result<std::string> body = EncodeReply(reply);
  if (body) {
    PendingPublish publish{.publication = {.channel = kOtherChannel,
                                           .routing_key = reply.to,
                                           .correlation_id = reply.id.str(),
                                           .body = std::move(*body)},
                           .deadline = steady_clock::now() + Broker::kPublishTimeout};
    if (Enqueue(others_, publish)) return;
    body = Fail(ErrorCode::kUnavailable, "the broker does not keep up");
  }
  log_.Warn("broker.reply_dropped",
            {{"execution_id", reply.id.str()}, {"error", body.error().message}});
}

Result<void> RabbitMqSender::SendCancel(const schema::ExecutionId& id) {
  if (!IsExecutionId(id.str())) return Fail(ErrorCode::kInvalidArgument, "not an execution id");
  return Broadcast(id.str());
}

Result<void> RabbitMqSender::SendWatch(const Watch& watch) {
  Result<std::string> body = EncodeWatch(watch);
  if (!body) return Fail(body.error());
  return Broadcast(*std::move(body));
}

void RabbitMqSender::SendProgress(const Progress& progress) {
  if (!progress.to.starts_with(topology_.ReplyPrefix()) || progress.to.size() > kMaxAddressBytes) {
    return;
  }
  Result<std::string> body = EncodeProgress(progress);
  if (body) {
    PendingPublish publish{.publication = {.channel = kProgressChannel,
                                           .routing_key = progress.to,
                                           .correlation_id = progress.id.str(),
                                           .body = std::move(*body)},
                           .deadline = steady_clock::now() + Broker::kPublishTimeout};
    if (Enqueue(progress_, publish)) return;
    body = Fail(ErrorCode::kUnavailable, "the broker does not keep up");
  }
  log_.Debug("broker.progress_dropped",
             {{"execution_id", progress.id.str()}, {"error", body.error().message}});
}

Result<void> RabbitMqSender::Broadcast(std::string body) {
  if (Result<void> up = Status(); !up) return up;
  PendingPublish publish{.publication = {.channel = kOtherChannel,
                                         .exchange = topology_.CancelExchange(),
                                         .body = std::move(body)},
                         .deadline = steady_clock::now() + Broker::kPublishTimeout};
  if (Enqueue(others_, publish)) return {};
  return Fail(ErrorCode::kUnavailable, "the broker does not keep up");
}

bool RabbitMqSender::Enqueue(Stream& stream, PendingPublish& publish) {
  {
    const std::lock_guard lock(mutex_);
    if (stream.bytes + Cost(publish) > stream.max_bytes) return false;
    stream.bytes += Cost(publish);
    stream.inbox.push_back(std::move(publish));
  }
  link_.Wake();
  return true;
}

void RabbitMqSender::Finish(Stream& stream, PendingPublish publish, Result<void> result) {
  {
    const std::lock_guard lock(mutex_);
    stream.bytes -= Cost(publish);
  }
  if (publish.done) publish.done(std::move(result));
}

void RabbitMqSender::FinishAll(std::vector<PendingPublish> publishes, const Result<void>& result) {
  for (PendingPublish& publish : publishes) Finish(lanes_, std::move(publish), result);
}

// ---- the link's thread ----------------------------------------------------------------------

Result<void> RabbitMqSender::SetUp(AmqpConnection& connection) {
  for (const AmqpChannel channel : {kLaneChannel, kOtherChannel, kProgressChannel}) {
    if (auto opened = connection.OpenChannel(channel); !opened) return opened;
  }
  if (auto declared = topology_.Declare(connection, kOtherChannel, log_); !declared) {
    return declared;
  }
  return connection.SelectConfirms(kLaneChannel);
}

void RabbitMqSender::OnLost(const Error& /*why*/) {
  blocked_ = false;
  // What nobody confirmed goes first, and as if it had never been written.
  std::vector<PendingPublish> open = window_.TakeAll();
  lanes_.waiting.insert(lanes_.waiting.begin(), std::move_iterator(open.begin()),
                        std::move_iterator(open.end()));
  for (Stream* stream : {&lanes_, &others_, &progress_}) {
    for (PendingPublish& publish : stream->waiting) publish.publication.written.reset();
  }
}

Result<void> RabbitMqSender::OnEvent(AmqpConnection& /*connection*/, AmqpEvent event) {
  if (const auto* confirm = std::get_if<AmqpConfirm>(&event)) {
    for (PendingPublish& publish : window_.Settle(confirm->tag, confirm->multiple)) {
      Result<void> result;
      if (!confirm->taken) {
        result = Fail(ErrorCode::kQueueFull,
                      "the queue is full: " + publish.publication.routing_key + " is at its limit");
      }
      Finish(lanes_, std::move(publish), std::move(result));
    }
  } else if (const auto* returned = std::get_if<AmqpReturn>(&event)) {
    std::uint64_t tag = 0;  // none of ours, if it does not parse
    const std::string& text = returned->correlation_id;
    std::from_chars(text.data(), text.data() + text.size(), tag);
    FinishAll(window_.Settle(tag, false),
              Fail(ErrorCode::kUnavailable, "the broker has lost the queue"));
  } else if (const auto* blocked = std::get_if<AmqpBlocked>(&event)) {
    blocked_ = blocked->blocked;
    if (blocked->blocked) {
      log_.Warn("broker.blocked");
    } else {
      log_.Info("broker.unblocked");
    }
  }
  return {};
}

Result<AmqpLinkHandler::Turn> RabbitMqSender::Work(AmqpConnection* connection) {
  TakeInbox();
  DropLate(steady_clock::now());

  Turn turn;
  while (connection != nullptr && !blocked_) {
    Stream* const stream = NextToWrite();
    if (stream == nullptr) break;
    turn.wants_to_write = !connection->Writable();
    if (turn.wants_to_write) break;
    if (auto written = WriteFirst(*connection, *stream); !written) return Fail(written.error());
  }
  turn.idle = lanes_.waiting.empty() && others_.waiting.empty() && progress_.waiting.empty() &&
              window_.empty();
  turn.next = std::min({window_.first_deadline(), FirstDeadline(lanes_.waiting),
                        FirstDeadline(others_.waiting), FirstDeadline(progress_.waiting)});
  return turn;
}

void RabbitMqSender::TakeInbox() {
  const std::lock_guard lock(mutex_);
  for (Stream* stream : {&lanes_, &others_, &progress_}) {
    std::move(stream->inbox.begin(), stream->inbox.end(), std::back_inserter(stream->waiting));
    stream->inbox.clear();
  }
}

void RabbitMqSender::DropLate(SteadyTime now) {
  FinishAll(window_.TakeExpired(now), Fail(NobodyKnows()));
  while (FirstDeadline(lanes_.waiting) <= now ||
         (blocked_ && !lanes_.waiting.empty() && !lanes_.waiting.front().maybe_taken)) {
    PendingPublish publish = std::move(lanes_.waiting.front());
    lanes_.waiting.pop_front();
    Result<void> why = Status();
    if (why) why = Fail(ErrorCode::kUnavailable, "the broker does not keep up");
    if (publish.maybe_taken) why = Fail(NobodyKnows());
    Finish(lanes_, std::move(publish), std::move(why));
  }
  for (Stream* stream : {&others_, &progress_}) {
    while (FirstDeadline(stream->waiting) <= now) {
      PendingPublish publish = std::move(stream->waiting.front());
      stream->waiting.pop_front();
      Finish(*stream, std::move(publish), {});
    }
  }
}

// In turns, so that no flood of the one keeps the others out.
RabbitMqSender::Stream* RabbitMqSender::NextToWrite() {
  Stream* const streams[] = {&lanes_, &others_, &progress_};
  for (std::size_t i = 0; i < std::size(streams); ++i) {
    Stream* const stream = streams[turn_++ % std::size(streams)];
    const bool full = stream == &lanes_ && window_.bytes() >= kMaxUnconfirmedBytes;
    if (!full && !stream->waiting.empty()) return stream;
  }
  return nullptr;
}

Result<void> RabbitMqSender::WriteFirst(AmqpConnection& connection, Stream& stream) {
  PendingPublish& first = stream.waiting.front();
  if (&stream == &lanes_) {
    first.publication.correlation_id = std::to_string(window_.next_tag());
    first.maybe_taken = true;
  }
  const Result<bool> whole = connection.PublishSome(first.publication);
  if (!whole) return Fail(whole.error());
  if (!*whole) return {};
  PendingPublish written = std::move(first);
  stream.waiting.pop_front();
  if (&stream == &lanes_) {
    window_.Add(std::move(written));
  } else {
    Finish(stream, std::move(written), {});
  }
  return {};
}

}  // namespace forkbox::queue
