// An origin for the store: content computed from the offset, with gates, failures and versions.
#ifndef GFS_TEST_WORKER_FAKE_ORIGIN_H
#define GFS_TEST_WORKER_FAKE_ORIGIN_H

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include <gfs/ufs/ufs.h>

class FakeOrigin
{
  public:
    static char ByteAt(const std::string &path, const std::string &version, uint64_t offset)
    {
        return static_cast<char>((offset * 31 + offset / 251 + path.size() * 7 +
                                  (version.empty() ? 0 : version.back())) &
                                 0xFF);
    }

    static std::string Expected(const std::string &path, const std::string &version,
                                uint64_t offset, uint64_t length)
    {
        std::string data(length, '\0');

        for (uint64_t i = 0; i < length; i++) {
            data[i] = ByteAt(path, version, offset + i);
        }
        return data;
    }

    static int Fetch(void *arg, uint32_t, const gfs_ufs_range *range, void *buffer,
                     char *version_out, gfs_err *err)
    {
        return static_cast<FakeOrigin *>(arg)->DoFetch(range, buffer, version_out, err);
    }

    // While closed, fetches wait.
    void CloseGate()
    {
        std::lock_guard<std::mutex> guard(mutex_);

        open_ = false;
    }

    void OpenGate()
    {
        std::lock_guard<std::mutex> guard(mutex_);

        open_ = true;
        changed_.notify_all();
    }

    void WaitForFetches(int n)
    {
        std::unique_lock<std::mutex> lock(mutex_);

        changed_.wait(lock, [&] { return fetches >= n; });
    }

    void SetVersion(const std::string &version)
    {
        std::lock_guard<std::mutex> guard(mutex_);

        version_ = version;
    }

    std::atomic<int> fetches{0};
    std::atomic<int> fail_next{0}; // this many fetches fail with fail_code
    std::atomic<int> fail_code{GFS_EUNAVAIL};

  private:
    int DoFetch(const gfs_ufs_range *range, void *buffer, char *version_out, gfs_err *err)
    {
        std::unique_lock<std::mutex> lock(mutex_);

        fetches++;
        changed_.notify_all();
        changed_.wait(lock, [&] { return open_; });
        if (fail_next > 0) {
            fail_next--;
            return gfs_err_set(err, fail_code, "origin said no");
        }
        if (range->version != nullptr && range->version[0] != '~' && version_ != range->version) {
            return gfs_err_set(err, GFS_ECHANGED, "%s changed", range->path);
        }

        std::string data = Expected(range->path, version_, range->offset, range->length);

        memcpy(buffer, data.data(), data.size());
        snprintf(version_out, GFS_UFS_VERSION_MAX + 1, "%s", version_.c_str());
        return 0;
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    bool open_ = true;
    std::string version_ = "\"v1\"";
};

#endif
