#include "tests/http/trial_server.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>
#include <utility>

namespace forkbox::http {

using std::chrono::microseconds;
using std::chrono::steady_clock;

Later::Later(int threads) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Work(); });
}

Later::~Later() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Later::Run(microseconds delay, std::function<void()> task) {
  {
    std::lock_guard lock(mutex_);
    tasks_.emplace(steady_clock::now() + delay, std::move(task));
  }
  changed_.notify_one();
}

std::size_t Later::waiting() const {
  std::lock_guard lock(mutex_);
  return tasks_.size();
}

void Later::Work() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (tasks_.empty()) {
      changed_.wait(lock);
      continue;
    }
    const auto first = tasks_.begin();
    if (const auto due = first->first; due > steady_clock::now()) {
      changed_.wait_until(lock, due);
      continue;
    }
    std::function<void()> task = std::move(first->second);
    tasks_.erase(first);
    lock.unlock();
    task();
    task = nullptr;  // what it held dies without the lock
    lock.lock();
  }
}

namespace {

long NumberFrom(const Call& call, std::string_view name) {
  std::string text;
  return call.Query(name, &text) ? std::atol(text.c_str()) : 0;
}

}  // namespace

TrialServer::TrialServer(Server::Options options)
    : server_(std::make_unique<Server>(std::move(options))), later_(std::make_unique<Later>(2)) {
  Server& server = *server_;
  server.Route(Method::kGet, "/q", [](Call& call) { call.reply.Send(200, "text/plain", "ok"); });
  server.Route(Method::kGet, "/token", [this](Call& call) {
    std::string body;
    call.Query("t", &body);
    const auto bytes = static_cast<std::size_t>(NumberFrom(call, "bytes"));
    if (body.size() < bytes) body.resize(bytes, '.');
    const microseconds delay(NumberFrom(call, "us"));
    if (delay.count() == 0) {
      call.reply.Send(200, "text/plain", body);
    } else {
      later_->Run(delay, [reply = call.reply, body = std::move(body)]() mutable {
        reply.Send(200, "text/plain", body);
      });
    }
  });
  server.Route(Method::kPost, "/echo",
               [](Call& call) { call.reply.Send(200, "text/plain", call.body); });
  server.Route(Method::kGet, "/big", [](Call& call) {
    call.reply.Send(200, "text/plain",
                    std::string(static_cast<std::size_t>(NumberFrom(call, "bytes")), 'b'));
  });
  server.Route(Method::kGet, "/file", [](Call& call) {
    UniqueFd file(::memfd_create("trial", MFD_CLOEXEC));
    const std::string text(static_cast<std::size_t>(NumberFrom(call, "bytes")), 'f');
    ASSERT_EQ(::write(file.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
    call.reply.SendFile(200, "application/octet-stream", std::move(file), 0, text.size());
  });
  server.Route(Method::kGet, "/events", [this](Call& call) {
    std::string id;
    call.Query("id", &id);
    if (call.reply.Start(200, "text/event-stream", {{"Cache-Control", "no-store"}})) {
      Tick(call.reply, id, 0);
    }
  });
  server.Route(Method::kGet, "/count", [](Call& call) {
    if (!call.reply.Start(200, "text/plain")) return;
    for (long i = 0; i < NumberFrom(call, "n"); ++i) call.reply.Write(std::to_string(i) + "\n");
    call.reply.End();
  });
  server.Route(Method::kGet, "/throw",
               [](Call&) { throw std::runtime_error("a secret in an exception"); });
  server.Route(Method::kGet, "/throw-int", [](Call&) { throw 42; });
  server.Route(Method::kGet, "/drop", [](Call&) {});
  server.Route(Method::kGet, "/drop-stream", [](Call& call) {
    call.reply.Start(200, "text/plain");
    call.reply.Write("half of it");
  });
  server.Route(Method::kGet, "/hold", [this](Call& call) {
    std::lock_guard lock(mutex_);
    held_.push_back(call.reply);
  });
}

TrialServer::~TrialServer() {
  server_->Stop();  // before what its handlers use
  later_.reset();
}

void TrialServer::Tick(Reply stream, std::string id, std::uint64_t number) {
  if (!stream.Write("id " + id + " " + std::to_string(number) + "\n")) return;
  later_->Run(std::chrono::milliseconds(20), [this, stream, id = std::move(id), number]() mutable {
    Tick(std::move(stream), std::move(id), number + 1);
  });
}

void TrialServer::Start() {
  const Result<void> started = server_->Start();
  ASSERT_TRUE(started.has_value()) << started.error().message;
}

bool TrialServer::IsAlive() const {
  HttpClient client = Connect();
  const auto response = client.Ask(GetRequest("/q"));
  return response && response->status == 200 && response->body == "ok";
}

bool TrialServer::IsIdle() const {
  const Server::Stats stats = server_->stats();
  return stats.connections == 0 && stats.requests_in_flight == 0 && stats.body_bytes == 0;
}

std::vector<Reply> TrialServer::TakeHeld() {
  std::lock_guard lock(mutex_);
  return std::exchange(held_, {});
}

std::size_t TrialServer::held() const {
  std::lock_guard lock(mutex_);
  return held_.size();
}

}  // namespace forkbox::http
