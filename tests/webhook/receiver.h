// Receiver: a webhook receiver for tests, as well- or ill-mannered as it is told to be. Plain
// sockets, one thread a connection, one request each.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/unique_fd.h"
#include "tests/webhook/tls_identity.h"

namespace forkbox::tests {

// One request as it came.
struct Post {
  std::string method;
  std::string target;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
};

class Receiver {
 public:
  // One connection whose request has been read. Everything ends at the latest with the Receiver.
  class Talk {
   public:
    const Post& post;
    const int number;  // of the request, from 1

    // False when the sender is gone.
    bool Write(std::string_view text);
    // A byte at a time; then silence.
    void Drip(std::string_view text, std::chrono::milliseconds pause);
    // "HTTP/1.1 <status> X", a body of two bytes, and the end.
    void Answer(int status, std::string_view headers = "");
    void WaitForClose();
    void Reset();  // a TCP reset, whatever was written

   private:
    friend class Receiver;
    Talk(const Post& what, int which, int socket, TlsSession* session)
        : post(what), number(which), socket_(socket), tls_(session) {}
    const int socket_;
    TlsSession* const tls_;  // null: plain
  };
  using Behaviour = std::function<void(Talk&)>;

  // Listens on a free port of `address`; with an identity it speaks TLS.
  explicit Receiver(Behaviour behaviour, const char* address = "127.0.0.1",
                    const TlsIdentity* identity = nullptr);
  ~Receiver();
  Receiver(const Receiver&) = delete;
  Receiver& operator=(const Receiver&) = delete;

  [[nodiscard]] std::uint16_t port() const { return port_; }
  // By address, or by another name for it.
  [[nodiscard]] std::string Url(const std::string& path = "/hook", std::string host = "") const;
  [[nodiscard]] std::vector<Post> posts() const;
  [[nodiscard]] std::size_t connections() const;

 private:
  void Accept();
  void Serve(int socket);

  const Behaviour behaviour_;
  const std::string address_;
  const TlsIdentity* const identity_;
  UniqueFd listener_;
  std::uint16_t port_ = 0;
  mutable std::mutex mutex_;
  bool stopping_ = false;            // guarded by mutex_, as is the rest
  std::list<UniqueFd> sockets_;      // open until the end, so that no number is used twice
  std::vector<std::jthread> talks_;  //
  std::vector<Post> posts_;
  std::jthread acceptor_;
};

}  // namespace forkbox::tests
