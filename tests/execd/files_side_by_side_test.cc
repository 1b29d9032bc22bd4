// Many at once in few boxes: forks, file operations and signals, while somebody inside kills all he
// can again and again. The slowest of each kind is recorded, for whoever looks for stalls.
#include <signal.h>

#include <array>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <sstream>
#include <thread>

#include "tests/execd/files_fixture.h"

namespace forkbox::execd::testing {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

class SideBySide : public FilesInBox {
 protected:
  struct Place {
    std::unique_ptr<sandbox::Box> box;
    std::unique_ptr<Files> files;
  };

  template <class Operation>
  void Time(const char* name, const Operation& operation) {
    const auto start = steady_clock::now();
    operation();
    const auto took = std::chrono::duration_cast<milliseconds>(steady_clock::now() - start);
    const std::lock_guard lock(mutex_);
    ++count_;
    slowest_[name] = std::max(slowest_[name], took);
  }

  std::string Slowest() const {
    std::ostringstream text;
    text << count_ << " operations; the slowest of each:";
    for (const auto& [name, took] : slowest_) text << " " << name << " " << took.count() << " ms;";
    return text.str();
  }

  void WorkIn(Place& place, std::size_t number, bool sheltered) {
    const std::string file = "file" + std::to_string(number);
    // Where everybody is killed all the time things may fail: each in its time.
    const auto expect = [&](bool done, const char* what) {
      EXPECT_TRUE(done || !sheltered) << what;
    };
    Time("command", [&] {
      const auto ended = RunIn(*place.box, "for i in 1 2 3; do /bin/true & done; wait; echo done");
      expect(ended.out == "done\n" && ended.err.empty(), "command");
      EXPECT_FALSE(ended.timed_out);
    });
    Time("upload", [&] { expect(Upload(*place.files, file).has_value(), "upload"); });
    Time("info", [&] { expect(place.files->Info(file).has_value(), "info"); });
    Time("search", [&] { expect(place.files->Search(".", "file*").has_value(), "search"); });
    Time("signal", [&] {
      const auto sent = place.files->Signal(30'000, SIGTERM, false);
      expect(!sent && sent.error().code == ErrorCode::kNotFound, "signal");
    });
  }

  static Result<void> Upload(Files& files, const std::string& path) {
    auto upload = files.Create(path, {});
    if (!upload) return Fail(upload.error());
    if (auto written = (*upload)->Write("text"); !written) return written;
    return (*upload)->Commit();
  }

  std::mutex mutex_;
  std::size_t count_ = 0;                        // by mutex_
  std::map<std::string, milliseconds> slowest_;  // by mutex_
};

TEST_F(SideBySide, EverythingIsDone) {
  std::array<Place, 3> places;
  for (Place& place : places) {
    auto box = driver_->OpenBox({});
    ASSERT_TRUE(box) << box.error().message;
    place.box = std::move(*box);
    place.files = std::make_unique<Files>(*place.box);
  }
  Place& dangerous = places.back();
  const auto end = steady_clock::now() + 4s;
  {
    std::vector<std::jthread> workers;
    for (std::size_t i = 0; i < 9; ++i) {
      workers.emplace_back([&, i] {
        Place& place = places[i % places.size()];
        while (steady_clock::now() < end) WorkIn(place, i, &place != &dangerous);
      });
    }
    workers.emplace_back([&] {
      while (steady_clock::now() < end) {
        Time("killer", [&] { RunIn(*dangerous.box, "kill -9 -1"); });
        std::this_thread::sleep_for(50ms);
      }
    });
    // Boxes come and go meanwhile.
    workers.emplace_back([&] {
      while (steady_clock::now() < end) {
        Time("box", [&] {
          auto box = driver_->OpenBox({});
          ASSERT_TRUE(box) << box.error().message;
          EXPECT_DONE(Files(**box).Info("/box/work"));
        });
      }
    });
  }
  RecordProperty("slowest", Slowest());
}

}  // namespace
}  // namespace forkbox::execd::testing
