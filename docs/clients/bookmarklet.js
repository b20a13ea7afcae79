javascript:void(open('https://go.example.com/dashboard/?url='+encodeURIComponent(location.href)))
