// AmqpConnection: one connection to an AMQP 0-9-1 broker, through rabbitmq-c. The only file that
// includes the library, beside that of the address.
//
// One thread. Set-up calls ask and wait for the answer, at most kSetUpTimeout each. Everything else
// never waits: sends are for when Writable() said yes, and answers are events. After any Error but
// that of a declaration the connection is of no more use.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"
#include "queue/amqp_address.h"

struct amqp_connection_state_t_;
struct amqp_frame_t_;

namespace forkbox::queue {

using AmqpChannel = std::uint16_t;

// Messages up to `tag` (with `multiple`), or that one, are taken or refused.
struct AmqpConfirm {
  std::uint64_t tag = 0;
  bool multiple = false;
  bool taken = false;
};
// A mandatory message found no queue. Comes before its confirm.
struct AmqpReturn {
  std::string correlation_id;
};
struct AmqpDelivery {
  std::string consumer = "";  // its tag; "" for the answer to Get()
  std::uint64_t tag = 0;
  bool redelivered = false;
  std::optional<std::string> body = std::nullopt;  // null: larger than kMaxBodyBytes
};
struct AmqpGetEmpty {};
struct AmqpQueueDepth {
  std::string queue;
  std::uint64_t ready = 0;
};
struct AmqpBlocked {
  bool blocked = false;  // by an alarm of the broker: it does not read what we publish
};
using AmqpEvent =
    std::variant<AmqpConfirm, AmqpReturn, AmqpDelivery, AmqpGetEmpty, AmqpQueueDepth, AmqpBlocked>;

struct AmqpQueue {
  std::string name;
  bool exclusive = false;  // ours, gone with the connection; else durable
  std::vector<std::pair<std::string, std::variant<std::int32_t, std::string>>> arguments = {};
};

struct AmqpPublication {
  AmqpChannel channel = 0;
  std::string exchange = "";
  std::string routing_key = "";  // at most 255 bytes
  std::string correlation_id = "";
  std::string body;
  bool persistent = false;
  bool mandatory = false;
  std::optional<std::size_t> written = std::nullopt;  // of the body; null: not yet begun
};

class AmqpConnection {
 public:
  static constexpr std::chrono::seconds kHeartbeat{10};
  static constexpr std::chrono::seconds kConnectTimeout{2};
  static constexpr std::chrono::seconds kSetUpTimeout{5};
  static constexpr std::size_t kMaxBodyBytes = 32U << 20;

  // kUnauthenticated: refused user, password or vhost. Else kUnavailable. Never holds the password.
  static Result<std::unique_ptr<AmqpConnection>> Open(const AmqpAddress& address,
                                                      const std::string& name);
  // Lets go of it without a word; see Close().
  ~AmqpConnection();
  AmqpConnection(const AmqpConnection&) = delete;
  AmqpConnection& operator=(const AmqpConnection&) = delete;

  // ---- set-up ----
  Result<void> OpenChannel(AmqpChannel channel);
  Result<void> DeclareFanout(AmqpChannel channel, const std::string& exchange);
  // How many messages are ready in it. kConflict: it is there with other arguments; the channel is
  // open all the same. With `passive` it is only looked at.
  Result<std::uint64_t> DeclareQueue(AmqpChannel channel, const AmqpQueue& queue,
                                     bool passive = false);
  Result<void> Bind(AmqpChannel channel, const std::string& queue, const std::string& exchange);
  Result<void> SelectConfirms(AmqpChannel channel);
  // Messages on their way or unacknowledged: of the whole channel, or of each consumer yet to come
  // (0: no limit).
  Result<void> LimitUnacked(AmqpChannel channel, std::uint16_t count, bool whole_channel);
  Result<void> Consume(AmqpChannel channel, const std::string& queue, const std::string& consumer,
                       bool no_ack);

  // ---- sending ----
  [[nodiscard]] bool Writable() const;
  // Writes the next part of it, without waiting if Writable(); true once the whole is written.
  // Between the parts nothing else may go out on that channel.
  Result<bool> PublishSome(AmqpPublication& publication);
  Result<void> Ack(AmqpChannel channel, std::uint64_t tag);
  Result<void> Reject(AmqpChannel channel, std::uint64_t tag, bool requeue);
  // LimitUnacked() of the whole channel, changed.
  Result<void> ChangeLimit(AmqpChannel channel, std::uint16_t count);
  Result<void> CancelConsumer(AmqpChannel channel, const std::string& consumer);
  Result<void> AskDepth(AmqpChannel channel, const std::string& queue);  // → AmqpQueueDepth
  Result<void> Get(AmqpChannel channel, const std::string& queue);  // → AmqpDelivery, AmqpGetEmpty

  // ---- receiving ----
  // For poll(), which does not see what HasBuffered().
  [[nodiscard]] int fd() const;
  [[nodiscard]] bool HasBuffered() const;
  // The next frame: null when there is none now, or it makes no event. Also keeps the heartbeats:
  // call it at least every kHeartbeat / 4. An Error ends the connection: closed by the broker, a
  // consumer cancelled by it, silence for too long.
  Result<std::optional<AmqpEvent>> Read();

  // Says good-bye and waits for the answer: then all that was sent has arrived.
  void Close();

 private:
  // A message on its way in, frame by frame.
  struct Incoming {
    std::variant<AmqpReturn, AmqpDelivery> event;
    std::uint64_t missing = 0;  // of the body, once has_header
    bool has_header = false;
  };

  AmqpConnection() = default;
  Result<void> Answered(std::string_view what);
  Result<std::optional<AmqpEvent>> OnFrame(const amqp_frame_t_& frame);
  Result<std::optional<AmqpEvent>> OnMethod(const amqp_frame_t_& frame);

  amqp_connection_state_t_* state_ = nullptr;
  std::map<AmqpChannel, Incoming> incoming_;
};

}  // namespace forkbox::queue
