#include "queue/amqp_connection.h"

#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>

#include "base/check.h"

namespace forkbox::queue {
namespace {

// One frame. poll() calls a TCP socket writable when a third of its send buffer is free, so with
// these a write after Writable() always fits: the kernel gives us 416 KiB by default.
constexpr std::size_t kPartBytes = 64U << 10;
constexpr std::size_t kWholeBytes = kPartBytes + (8U << 10);  // not worth cutting
constexpr int kSendBufferBytes = 1 << 20;
constexpr int kFrameBytes = 128 << 10;
constexpr int kChannels = 16;

amqp_bytes_t Bytes(std::string_view text) {
  return {.len = text.size(), .bytes = const_cast<char*>(text.data())};
}

std::string Text(amqp_bytes_t bytes) { return {static_cast<const char*>(bytes.bytes), bytes.len}; }

template <class Method>
const Method& Decoded(const amqp_method_t& method) {
  return *static_cast<const Method*>(method.decoded);
}

tl::unexpected<Error> Unavailable(std::string_view what, std::string_view why) {
  return Fail(ErrorCode::kUnavailable, std::string(what) + ": " + std::string(why));
}

tl::unexpected<Error> LibraryError(std::string_view what, int status) {
  return Unavailable(what, amqp_error_string2(status));
}

Result<void> Sent(std::string_view what, int status) {
  if (status != AMQP_STATUS_OK) return LibraryError(what, status);
  return {};
}

// The broker closed the channel or the connection and says why: "PRECONDITION_FAILED - …".
tl::unexpected<Error> Closed(std::string_view what, const amqp_method_t& method) {
  int code = 0;
  std::string why = "unexpected answer";
  if (method.id == AMQP_CHANNEL_CLOSE_METHOD) {
    const auto& close = Decoded<amqp_channel_close_t>(method);
    code = close.reply_code;
    why = Text(close.reply_text);
  } else if (method.id == AMQP_CONNECTION_CLOSE_METHOD) {
    const auto& close = Decoded<amqp_connection_close_t>(method);
    code = close.reply_code;
    why = Text(close.reply_text);
  }
  Error error = Unavailable(what, why).value();
  if (code == AMQP_ACCESS_REFUSED || code == AMQP_NOT_ALLOWED) {
    error.code = ErrorCode::kUnauthenticated;
  } else if (code == AMQP_PRECONDITION_FAILED) {
    error.code = ErrorCode::kConflict;
  }
  return Fail(std::move(error));
}

amqp_table_entry_t Flag(const char* name) {
  amqp_table_entry_t entry{};
  entry.key = amqp_cstring_bytes(name);
  entry.value.kind = AMQP_FIELD_KIND_BOOLEAN;
  entry.value.value.boolean = 1;
  return entry;
}

timeval Timeval(std::chrono::seconds duration) {
  return {.tv_sec = static_cast<time_t>(duration.count()), .tv_usec = 0};
}

}  // namespace

Result<std::unique_ptr<AmqpConnection>> AmqpConnection::Open(const AmqpAddress& address,
                                                             const std::string& name) {
  const std::string what = "connecting to " + address.ToString();
  std::unique_ptr<AmqpConnection> connection(new AmqpConnection);
  amqp_connection_state_t const state = connection->state_ = amqp_new_connection();
  FORKBOX_CHECK(state != nullptr);
  amqp_socket_t* const socket = amqp_tcp_socket_new(state);
  FORKBOX_CHECK(socket != nullptr);

  const timeval connect_timeout = Timeval(kConnectTimeout);
  if (const int status =
          amqp_socket_open_noblock(socket, address.host.c_str(), address.port, &connect_timeout);
      status != AMQP_STATUS_OK) {
    return LibraryError(what, status);
  }
  const int fd = connection->fd();
  if (::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 ||
      ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &kSendBufferBytes, sizeof(kSendBufferBytes)) != 0) {
    return FailErrno(what);
  }
  const timeval timeout = Timeval(kSetUpTimeout);
  amqp_set_handshake_timeout(state, &timeout);
  amqp_set_rpc_timeout(state, &timeout);

  // Without these the broker is silent about a deleted queue and about its alarms.
  amqp_table_entry_t capabilities[] = {Flag("consumer_cancel_notify"), Flag("publisher_confirms"),
                                       Flag("connection.blocked"),
                                       Flag("authentication_failure_close")};
  amqp_table_entry_t properties[2]{};
  properties[0].key = amqp_cstring_bytes("capabilities");
  properties[0].value.kind = AMQP_FIELD_KIND_TABLE;
  properties[0].value.value.table = {.num_entries = std::size(capabilities),
                                     .entries = capabilities};
  properties[1].key = amqp_cstring_bytes("connection_name");
  properties[1].value.kind = AMQP_FIELD_KIND_UTF8;
  properties[1].value.value.bytes = Bytes(name);
  const amqp_table_t table{.num_entries = std::size(properties), .entries = properties};
  const amqp_rpc_reply_t reply = amqp_login_with_properties(
      state, address.vhost.c_str(), kChannels, kFrameBytes, static_cast<int>(kHeartbeat.count()),
      &table, AMQP_SASL_METHOD_PLAIN, address.user.c_str(), address.password.c_str());
  if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION) return Closed(what, reply.reply);
  if (reply.reply_type != AMQP_RESPONSE_NORMAL) return LibraryError(what, reply.library_error);
  return connection;
}

AmqpConnection::~AmqpConnection() { amqp_destroy_connection(state_); }

void AmqpConnection::Close() {
  const timeval timeout = Timeval(std::chrono::seconds(1));
  amqp_set_rpc_timeout(state_, &timeout);
  amqp_connection_close(state_, AMQP_REPLY_SUCCESS);
}

// ---- set-up ---------------------------------------------------------------------------------

Result<void> AmqpConnection::Answered(std::string_view what) {
  const amqp_rpc_reply_t reply = amqp_get_rpc_reply(state_);
  if (reply.reply_type == AMQP_RESPONSE_NORMAL) return {};
  if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION) return Closed(what, reply.reply);
  return LibraryError(what, reply.library_error);
}

Result<void> AmqpConnection::OpenChannel(AmqpChannel channel) {
  amqp_channel_open(state_, channel);
  return Answered("channel.open");
}

Result<void> AmqpConnection::DeclareFanout(AmqpChannel channel, const std::string& exchange) {
  amqp_exchange_declare(state_, channel, Bytes(exchange), amqp_cstring_bytes("fanout"),
                        /*passive=*/0, /*durable=*/1, /*auto_delete=*/0, /*internal=*/0,
                        amqp_empty_table);
  return Answered("exchange.declare");
}

Result<std::uint64_t> AmqpConnection::DeclareQueue(AmqpChannel channel, const AmqpQueue& queue,
                                                   bool passive) {
  std::vector<amqp_table_entry_t> entries;
  for (const auto& [name, value] : queue.arguments) {
    amqp_table_entry_t& entry = entries.emplace_back();
    entry.key = Bytes(name);
    if (const auto* number = std::get_if<std::int32_t>(&value)) {
      entry.value.kind = AMQP_FIELD_KIND_I32;
      entry.value.value.i32 = *number;
    } else {
      entry.value.kind = AMQP_FIELD_KIND_UTF8;
      entry.value.value.bytes = Bytes(std::get<std::string>(value));
    }
  }
  const amqp_queue_declare_ok_t* const answer = amqp_queue_declare(
      state_, channel, Bytes(queue.name), passive ? 1 : 0, queue.exclusive ? 0 : 1,
      queue.exclusive ? 1 : 0, queue.exclusive ? 1 : 0,
      {.num_entries = static_cast<int>(entries.size()), .entries = entries.data()});
  if (answer != nullptr) return std::uint64_t{answer->message_count};
  const Result<void> answered = Answered("queue.declare");
  FORKBOX_CHECK(!answered);
  if (answered.error().code == ErrorCode::kConflict) {  // closed the channel
    amqp_channel_close_ok_t ok{};
    if (auto sent = Sent("channel.close-ok",
                         amqp_send_method(state_, channel, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok));
        !sent) {
      return Fail(sent.error());
    }
    if (auto opened = OpenChannel(channel); !opened) return Fail(opened.error());
  }
  return Fail(answered.error());
}

Result<void> AmqpConnection::Bind(AmqpChannel channel, const std::string& queue,
                                  const std::string& exchange) {
  amqp_queue_bind(state_, channel, Bytes(queue), Bytes(exchange), amqp_empty_bytes,
                  amqp_empty_table);
  return Answered("queue.bind");
}

Result<void> AmqpConnection::SelectConfirms(AmqpChannel channel) {
  amqp_confirm_select(state_, channel);
  return Answered("confirm.select");
}

Result<void> AmqpConnection::LimitUnacked(AmqpChannel channel, std::uint16_t count,
                                          bool whole_channel) {
  amqp_basic_qos(state_, channel, /*prefetch_size=*/0, count, whole_channel ? 1 : 0);
  return Answered("basic.qos");
}

Result<void> AmqpConnection::Consume(AmqpChannel channel, const std::string& queue,
                                     const std::string& consumer, bool no_ack) {
  amqp_basic_consume(state_, channel, Bytes(queue), Bytes(consumer), /*no_local=*/0, no_ack ? 1 : 0,
                     /*exclusive=*/0, amqp_empty_table);
  return Answered("basic.consume");
}

// ---- sending --------------------------------------------------------------------------------

bool AmqpConnection::Writable() const {
  pollfd poll_fd{.fd = fd(), .events = POLLOUT, .revents = 0};
  return ::poll(&poll_fd, 1, 0) == 1;  // an error, too: the write will say which
}

Result<bool> AmqpConnection::PublishSome(AmqpPublication& publication) {
  amqp_basic_properties_t properties{};
  properties._flags = AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_CORRELATION_ID_FLAG;
  properties.delivery_mode =
      publication.persistent ? AMQP_DELIVERY_PERSISTENT : AMQP_DELIVERY_NONPERSISTENT;
  properties.correlation_id = Bytes(publication.correlation_id);
  const std::string_view body = publication.body;

  if (!publication.written && body.size() <= kWholeBytes) {
    publication.written = body.size();
    const int status = amqp_basic_publish(
        state_, publication.channel, Bytes(publication.exchange), Bytes(publication.routing_key),
        publication.mandatory ? 1 : 0, /*immediate=*/0, &properties, Bytes(body));
    if (status != AMQP_STATUS_OK) return LibraryError("basic.publish", status);
    return true;
  }

  // The library would write the whole of it and wait for room as long as that takes.
  amqp_frame_t frame{};
  frame.channel = publication.channel;
  if (!publication.written) {
    publication.written = 0;
    amqp_basic_publish_t method{};
    method.exchange = Bytes(publication.exchange);
    method.routing_key = Bytes(publication.routing_key);
    method.mandatory = publication.mandatory ? 1 : 0;
    const int status =
        amqp_send_method(state_, publication.channel, AMQP_BASIC_PUBLISH_METHOD, &method);
    if (status != AMQP_STATUS_OK) return LibraryError("basic.publish", status);
    frame.frame_type = AMQP_FRAME_HEADER;
    frame.payload.properties.class_id = AMQP_BASIC_CLASS;
    frame.payload.properties.body_size = body.size();
    frame.payload.properties.decoded = &properties;
  } else {
    const std::string_view part = body.substr(*publication.written, kPartBytes);
    *publication.written += part.size();
    frame.frame_type = AMQP_FRAME_BODY;
    frame.payload.body_fragment = Bytes(part);
  }
  if (const int status = amqp_send_frame(state_, &frame); status != AMQP_STATUS_OK) {
    return LibraryError("basic.publish", status);
  }
  return publication.written == body.size();
}

Result<void> AmqpConnection::Ack(AmqpChannel channel, std::uint64_t tag) {
  return Sent("basic.ack", amqp_basic_ack(state_, channel, tag, /*multiple=*/0));
}

Result<void> AmqpConnection::Reject(AmqpChannel channel, std::uint64_t tag, bool requeue) {
  return Sent("basic.reject", amqp_basic_reject(state_, channel, tag, requeue ? 1 : 0));
}

Result<void> AmqpConnection::ChangeLimit(AmqpChannel channel, std::uint16_t count) {
  amqp_basic_qos_t method{.prefetch_size = 0, .prefetch_count = count, .global = 1};
  return Sent("basic.qos", amqp_send_method(state_, channel, AMQP_BASIC_QOS_METHOD, &method));
}

Result<void> AmqpConnection::CancelConsumer(AmqpChannel channel, const std::string& consumer) {
  amqp_basic_cancel_t method{.consumer_tag = Bytes(consumer), .nowait = 1};
  return Sent("basic.cancel", amqp_send_method(state_, channel, AMQP_BASIC_CANCEL_METHOD, &method));
}

Result<void> AmqpConnection::AskDepth(AmqpChannel channel, const std::string& queue) {
  amqp_queue_declare_t method{};
  method.queue = Bytes(queue);
  method.passive = 1;
  return Sent("queue.declare",
              amqp_send_method(state_, channel, AMQP_QUEUE_DECLARE_METHOD, &method));
}

Result<void> AmqpConnection::Get(AmqpChannel channel, const std::string& queue) {
  amqp_basic_get_t method{};
  method.queue = Bytes(queue);
  return Sent("basic.get", amqp_send_method(state_, channel, AMQP_BASIC_GET_METHOD, &method));
}

// ---- receiving ------------------------------------------------------------------------------

int AmqpConnection::fd() const { return amqp_get_sockfd(state_); }

bool AmqpConnection::HasBuffered() const {
  return amqp_frames_enqueued(state_) != 0 || amqp_data_in_buffer(state_) != 0;
}

Result<std::optional<AmqpEvent>> AmqpConnection::Read() {
  amqp_maybe_release_buffers(state_);  // what earlier frames were decoded into
  amqp_frame_t frame;
  const timeval at_once{};
  const int status = amqp_simple_wait_frame_noblock(state_, &frame, &at_once);
  if (status == AMQP_STATUS_TIMEOUT) return std::optional<AmqpEvent>();
  if (status != AMQP_STATUS_OK) return LibraryError("the connection broke", status);
  return OnFrame(frame);
}

Result<std::optional<AmqpEvent>> AmqpConnection::OnFrame(const amqp_frame_t& frame) {
  if (frame.frame_type == AMQP_FRAME_METHOD) return OnMethod(frame);
  if (frame.frame_type != AMQP_FRAME_HEADER && frame.frame_type != AMQP_FRAME_BODY) {
    return std::optional<AmqpEvent>();
  }
  const auto found = incoming_.find(frame.channel);
  const bool is_header = frame.frame_type == AMQP_FRAME_HEADER;
  if (found == incoming_.end() || found->second.has_header == is_header) {
    return Unavailable("the connection broke", "a frame out of order");
  }
  Incoming& incoming = found->second;
  if (is_header) {
    incoming.has_header = true;
    incoming.missing = frame.payload.properties.body_size;
    const auto& properties =
        *static_cast<const amqp_basic_properties_t*>(frame.payload.properties.decoded);
    if (auto* returned = std::get_if<AmqpReturn>(&incoming.event);
        returned != nullptr && (properties._flags & AMQP_BASIC_CORRELATION_ID_FLAG) != 0) {
      returned->correlation_id = Text(properties.correlation_id);
    }
    if (auto* delivery = std::get_if<AmqpDelivery>(&incoming.event);
        delivery != nullptr && incoming.missing <= kMaxBodyBytes) {
      delivery->body.emplace().reserve(incoming.missing);
    }
  } else {
    const amqp_bytes_t& part = frame.payload.body_fragment;
    if (part.len > incoming.missing) {
      return Unavailable("the connection broke", "a body longer than announced");
    }
    incoming.missing -= part.len;
    if (auto* delivery = std::get_if<AmqpDelivery>(&incoming.event);
        delivery != nullptr && delivery->body) {
      delivery->body->append(static_cast<const char*>(part.bytes), part.len);
    }
  }
  if (incoming.missing != 0) return std::optional<AmqpEvent>();
  auto whole = incoming_.extract(found);
  return std::visit([](auto& event) { return std::optional<AmqpEvent>(std::move(event)); },
                    whole.mapped().event);
}

Result<std::optional<AmqpEvent>> AmqpConnection::OnMethod(const amqp_frame_t& frame) {
  const amqp_method_t& method = frame.payload.method;
  switch (method.id) {
    case AMQP_BASIC_ACK_METHOD: {
      const auto& ack = Decoded<amqp_basic_ack_t>(method);
      return AmqpEvent(
          AmqpConfirm{.tag = ack.delivery_tag, .multiple = ack.multiple != 0, .taken = true});
    }
    case AMQP_BASIC_NACK_METHOD: {
      const auto& nack = Decoded<amqp_basic_nack_t>(method);
      return AmqpEvent(
          AmqpConfirm{.tag = nack.delivery_tag, .multiple = nack.multiple != 0, .taken = false});
    }
    case AMQP_BASIC_DELIVER_METHOD: {
      const auto& deliver = Decoded<amqp_basic_deliver_t>(method);
      incoming_[frame.channel] = {.event = AmqpDelivery{.consumer = Text(deliver.consumer_tag),
                                                        .tag = deliver.delivery_tag,
                                                        .redelivered = deliver.redelivered != 0}};
      return std::optional<AmqpEvent>();
    }
    case AMQP_BASIC_GET_OK_METHOD: {
      const auto& got = Decoded<amqp_basic_get_ok_t>(method);
      incoming_[frame.channel] = {
          .event = AmqpDelivery{.tag = got.delivery_tag, .redelivered = got.redelivered != 0}};
      return std::optional<AmqpEvent>();
    }
    case AMQP_BASIC_RETURN_METHOD:
      incoming_[frame.channel] = {.event = AmqpReturn{}};
      return std::optional<AmqpEvent>();
    case AMQP_BASIC_GET_EMPTY_METHOD:
      return AmqpEvent(AmqpGetEmpty{});
    case AMQP_QUEUE_DECLARE_OK_METHOD: {
      const auto& declared = Decoded<amqp_queue_declare_ok_t>(method);
      return AmqpEvent(
          AmqpQueueDepth{.queue = Text(declared.queue), .ready = declared.message_count});
    }
    case AMQP_BASIC_QOS_OK_METHOD:
      return std::optional<AmqpEvent>();
    case AMQP_CONNECTION_BLOCKED_METHOD:
      return AmqpEvent(AmqpBlocked{true});
    case AMQP_CONNECTION_UNBLOCKED_METHOD:
      return AmqpEvent(AmqpBlocked{false});
    case AMQP_BASIC_CANCEL_METHOD:
      return Unavailable("the broker cancelled a consumer", "its queue was deleted");
    case AMQP_CHANNEL_CLOSE_METHOD:
      return Closed("the broker closed a channel", method);
    case AMQP_CONNECTION_CLOSE_METHOD:
      return Closed("the broker closed the connection", method);
    default:
      return Unavailable("the connection broke", "a method nobody asked for");
  }
}

}  // namespace forkbox::queue
